package pgd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrun/millrun/internal/cache"
)

const (
	// copiedProgram is the folder of the binaries when the server's user cannot reach the cache.
	copiedProgram = "program"
	// farProgram is the file that names a folder outside the data folder which holds them; it goes when the server stops.
	farProgram = "program.path"
)

// program is the folder that holds initdb and postgres, in reach of who. cleanup removes what must not stay.
func program(ctx context.Context, c Config, who *identity) (bin string, cleanup func() error, err error) {
	keep := func() error { return nil }
	if err := dropFar(c.Dir); err != nil {
		return "", nil, err
	}
	if c.BinDir != "" {
		if !who.reaches(c.BinDir) {
			return "", nil, fmt.Errorf("pgd: user %s, under which PostgreSQL must run, cannot reach the binaries in %s", who.name, c.BinDir)
		}
		return c.BinDir, keep, nil
	}
	home, err := fetched(ctx, c.CacheDir)
	if err != nil {
		return "", nil, err
	}
	if who.reaches(home) {
		return filepath.Join(home, "bin"), keep, nil
	}
	if who.reaches(c.Dir) {
		near, err := cache.Prepared(ctx, c.Dir, copiedProgram, copyFrom(home))
		return filepath.Join(near, "bin"), keep, err
	}
	far, err := copyFar(home, c.Dir)
	return filepath.Join(far, "bin"), func() error { return dropFar(c.Dir) }, err
}

func copyFrom(home string) func(context.Context, string) error {
	return func(_ context.Context, dir string) error { return copyTree(home, dir) }
}

// copyFar copies the binaries among the temporary files, the last place that everybody reaches, and writes down where.
func copyFar(home, dir string) (string, error) {
	far, err := os.MkdirTemp("", "millrun-postgresql-")
	if err != nil {
		return "", fmt.Errorf("pgd: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, farProgram), []byte(far), 0o600); err != nil {
		return "", errors.Join(fmt.Errorf("pgd: %w", err), os.RemoveAll(far))
	}
	if err := os.Chmod(far, 0o755); err != nil {
		return "", fmt.Errorf("pgd: %w", err)
	}
	return far, copyTree(home, far)
}

// dropFar removes the binaries that a copyFar of this or an earlier, killed, process left.
func dropFar(dir string) error {
	note := filepath.Join(dir, farProgram)
	b, err := os.ReadFile(note)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	far := string(b)
	if !strings.HasPrefix(filepath.Base(far), "millrun-postgresql-") {
		return fmt.Errorf("pgd: %s names %q, which is no folder of ours: remove that file", note, far)
	}
	if err := errors.Join(os.RemoveAll(far), os.Remove(note)); err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	return nil
}

// copyTree copies folders, files and symbolic links; everybody may read the copy.
func copyTree(from, to string) error {
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		default:
			return copyFile(path, target)
		}
	})
	if err != nil {
		return fmt.Errorf("pgd: copy the binaries: %w", err)
	}
	return nil
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, info.Mode().Perm()|0o444)
}
