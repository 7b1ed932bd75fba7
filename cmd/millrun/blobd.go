package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/millrun/millrun/internal/blobd"
	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/config"
)

// blobdCommand is embedded Blob storage on its own.
type blobdCommand struct {
	Data       string   `default:".blobd" help:"Folder that keeps the blobs." placeholder:"DIR" type:"path"`
	Addr       string   `default:"127.0.0.1:10000" help:"Address to listen on; port 0 takes a free one."`
	Account    string   `default:"millrun" help:"Name of the storage account."`
	KeyFile    string   `help:"File with the account's key in base64." required:"" type:"existingfile"`
	Containers []string `help:"Containers to make at start." placeholder:"NAME" sep:","`
	Immutable  []string `help:"Those among them with version-level immutability." placeholder:"NAME" sep:","`
}

// Help is the example of --help.
func (blobdCommand) Help() string {
	return "Example:\n  head -c 64 /dev/urandom | base64 -w0 > key\n  millrun blobd --key-file key --containers staging,archive,analytics,ledger --immutable archive"
}

// Run serves until it is interrupted.
func (b *blobdCommand) Run(ctx context.Context, c *cli) error {
	key, err := os.ReadFile(b.KeyFile)
	if err != nil {
		return err
	}
	s, err := blobd.Open(blobd.Config{
		Dir: b.Data, Account: b.Account, Key: strings.TrimSpace(string(key)), Containers: b.containers(), Clock: clock.System{}, Log: c.log(),
	})
	if err != nil {
		return fmt.Errorf("%w: %w", config.ErrInvalid, err)
	}
	addr, err := s.Listen(b.Addr)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	fmt.Fprintf(os.Stderr, "ready: Blob storage on http://%s/%s, Ctrl-C stops\n", addr, b.Account)
	<-ctx.Done()
	return s.Close()
}

// containers makes every named one; a container is immutable when it is named there too.
func (b *blobdCommand) containers() []blobd.ContainerConfig {
	immutable := map[string]bool{}
	for _, name := range b.Immutable {
		immutable[name] = true
	}
	var list []blobd.ContainerConfig
	for _, name := range b.Containers {
		cc := blobd.ContainerConfig{Name: name}
		if immutable[name] {
			cc.ImmutableWithVersioning, cc.DefaultDays, cc.DefaultLocked = true, 1, true
		}
		list = append(list, cc)
	}
	return list
}
