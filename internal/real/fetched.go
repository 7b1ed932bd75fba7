package real

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/millrun/millrun/internal/cache"
)

// prepared is the folder name of the cache, filled by fill on first use.
func prepared(ctx context.Context, name string, fill func(ctx context.Context, dir string) error) (string, error) {
	root, err := cache.Dir()
	if err != nil {
		return "", fmt.Errorf("real: %w", err)
	}
	dir, err := cache.Prepared(ctx, root, name, fill)
	if err != nil {
		return "", fmt.Errorf("real: %w", err)
	}
	return dir, nil
}

// tail is the end of a log file, for an error that must explain itself; it says so when there is none.
func tail(path string) string {
	const most = 3000
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "(no log)"
	}
	if err != nil {
		return fmt.Sprintf("(log unreadable: %v)", err)
	}
	if len(b) > most {
		b = b[len(b)-most:]
	}
	return strings.TrimSpace(string(b))
}
