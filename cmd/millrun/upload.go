package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/millrun/millrun/cmd/millrun/internal/install"
)

// uploadCommand sends images as a tenant's application would.
type uploadCommand struct {
	apiFlags

	Tenant string   `default:"demo" help:"Tenant whose key of the installation is used."`
	Files  []string `arg:"" help:"Images to send." type:"existingfile"`
}

// Help is the example of --help.
func (uploadCommand) Help() string { return "Example:\n  millrun upload --dir .millrun photo.jpg" }

// Run sends the files one after the other and prints a line for each; one that is refused does not stop the others.
func (u *uploadCommand) Run(ctx context.Context) error {
	c, err := u.connect(func(i *install.Connection) string { return i.APIKeys[u.Tenant] })
	if err != nil {
		return err
	}
	var refused []error
	for _, path := range u.Files {
		if err := u.send(ctx, c, path); err != nil {
			refused = append(refused, fmt.Errorf("%s: %w", path, err))
		}
	}
	return errors.Join(refused...)
}

func (u *uploadCommand) send(ctx context.Context, c *client, path string) error {
	image, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	answer, err := c.post(ctx, "/v1/images", "application/octet-stream", bytes.NewReader(image))
	if err != nil {
		return err
	}
	var receipt struct {
		ImageID   string `json:"image_id"`
		Duplicate bool   `json:"duplicate"`
		ExpiresAt string `json:"expires_at"`
	}
	if err := json.Unmarshal(answer, &receipt); err != nil {
		return fmt.Errorf("the answer is no receipt: %w", err)
	}
	fmt.Printf("%s\t%s\tduplicate=%t\texpires %s\n", path, receipt.ImageID, receipt.Duplicate, receipt.ExpiresAt)
	return nil
}
