package pgd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrun/millrun/internal/cache"
	"github.com/millrun/millrun/internal/child"
)

// copiedProgram is the folder of the binaries when the server's user cannot reach the cache.
const copiedProgram = "program"

// program is the folder that holds initdb and postgres, in reach of who. cleanup removes what must not stay.
func program(ctx context.Context, c Config, who *identity) (bin string, cleanup func() error, err error) {
	keep := func() error { return nil }
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
	return copyFar(home)
}

func copyFrom(home string) func(context.Context, string) error {
	return func(_ context.Context, dir string) error { return copyTree(home, dir) }
}

// farPrefix begins the name of a folder of binaries among the temporary files, and of its lock beside it.
const farPrefix = "millrun-postgresql-"

// copyFar copies the binaries among the temporary files, the last place that everybody reaches. The copy is locked as long
// as its owner lives; cleanup removes it, and so does the next copyFar of anybody when the owner was killed.
func copyFar(home string) (bin string, cleanup func() error, err error) {
	if err := dropAbandoned(); err != nil {
		return "", nil, err
	}
	far := filepath.Join(os.TempDir(), farPrefix+strings.ToLower(rand.Text()))
	lock, err := child.TryLock(far+".lock", false)
	if err != nil {
		return "", nil, fmt.Errorf("pgd: %w", err)
	}
	cleanup = func() error { return errors.Join(dropFar(far), lock.Unlock()) }
	if err := os.Mkdir(far, 0o755); err != nil {
		return "", nil, errors.Join(fmt.Errorf("pgd: %w", err), cleanup())
	}
	if err := copyTree(home, far); err != nil {
		return "", nil, errors.Join(err, cleanup())
	}
	return filepath.Join(far, "bin"), cleanup, nil
}

func dropFar(far string) error {
	// RemoveAll for the lock too: another process may have removed it in the same moment.
	if err := errors.Join(os.RemoveAll(far), os.RemoveAll(far+".lock")); err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	return nil
}

// dropAbandoned removes the copies whose owners are gone. Those of other users are theirs.
func dropAbandoned() error {
	locks, err := filepath.Glob(filepath.Join(os.TempDir(), farPrefix+"*.lock"))
	if err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	var errs []error
	for _, path := range locks {
		lock, err := child.TryLock(path, false)
		if err != nil {
			continue // in use, or not ours
		}
		errs = append(errs, dropFar(strings.TrimSuffix(path, ".lock")), lock.Unlock())
	}
	return errors.Join(errs...)
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
