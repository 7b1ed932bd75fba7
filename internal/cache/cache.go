// Package cache keeps programs that are fetched once and used by many processes: PostgreSQL's binaries, Kafka's jars,
// Azurite.
package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/millrun/millrun/internal/child"
)

// Env names the environment variable that overrides the cache folder.
const Env = "MILLRUN_CACHE"

// completeMark is the file that says a prepared folder is whole. It is written last.
const completeMark = ".complete"

// Dir is where fetched programs are kept: $MILLRUN_CACHE, else millrun in the user's cache folder, else (a user without
// a home) a folder of the user's among the temporary files.
func Dir() (string, error) {
	if dir := os.Getenv(Env); dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", fmt.Errorf("cache: %s: %w", Env, err)
		}
		return abs, nil
	}
	if dir, err := os.UserCacheDir(); err == nil {
		return filepath.Join(dir, "millrun"), nil
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("millrun-cache-%d", os.Getuid())), nil
}

// Prepared returns the folder name in the cache dir, filled by fill on first use. Two processes never fill the same
// folder: the second waits for the first. A folder whose filling was interrupted is emptied and filled anew.
func Prepared(ctx context.Context, dir, name string, fill func(ctx context.Context, dir string) error) (_ string, err error) {
	dir = filepath.Join(dir, name)
	if complete(dir) {
		return dir, nil
	}
	lock, err := child.Lock(ctx, dir+".lock", false)
	if err != nil {
		return "", fmt.Errorf("cache: prepare %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if complete(dir) {
		return dir, nil
	}
	if err := refill(ctx, dir, fill); err != nil {
		return "", fmt.Errorf("cache: prepare %s: %w", name, err)
	}
	return dir, nil
}

func refill(ctx context.Context, dir string, fill func(ctx context.Context, dir string) error) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := fill(ctx, dir); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, completeMark), nil, 0o644)
}

func complete(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, completeMark))
	return err == nil
}
