package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/millrun/millrun/cmd/millrun/internal/install"
)

// apiFlags are the flags of commands that call the API.
type apiFlags struct {
	inDir

	URL string `help:"Base URL of the API. Default: the installation's." placeholder:"URL"`
	Key string `env:"MILLRUN_API_KEY" help:"API key. Default: the installation's." placeholder:"KEY"`
}

// client calls the API with a key.
type client struct {
	url, key string
}

// connect takes what the flags leave open from the installation; choose picks the key.
func (f apiFlags) connect(choose func(*install.Connection) string) (*client, error) {
	c := &client{url: f.URL, key: f.Key}
	if c.url != "" && c.key != "" {
		return c, nil
	}
	if f.Dir == "" {
		return nil, fmt.Errorf("%w: give --url and --key, or --dir of an installation", errUsage)
	}
	conn, err := install.ReadConnection(f.Dir)
	if err != nil {
		return nil, err
	}
	if c.url == "" {
		c.url = conn.HTTPURL
	}
	if c.key == "" {
		c.key = choose(conn)
	}
	if c.key == "" {
		return nil, fmt.Errorf("%w: the installation has no such key", errUsage)
	}
	return c, nil
}

// post sends a body and returns the answer's; a status of 400 or more is an error that holds the problem's detail.
func (c *client) post(ctx context.Context, path, contentType string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.url, "/")+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("X-Api-Key", c.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return nil, problemOf(resp.Status, answer)
	}
	return answer, nil
}

// problemOf reads an answer of RFC 9457.
func problemOf(status string, body []byte) error {
	var p struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	if json.Unmarshal(body, &p) != nil || p.Title == "" {
		return errors.New(status)
	}
	if p.Detail == "" {
		return fmt.Errorf("%s: %s", status, p.Title)
	}
	return fmt.Errorf("%s: %s", status, p.Detail)
}
