package kafkad

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// kfake compacts by removing a partition's files and writing new ones; a kill in between would lose the partition. So
// the old files get a second name (a hard link) aside, and a note says that they count. The note is the last thing made
// and the first thing removed.

func backupDir(dir string) string  { return filepath.Join(dir, "compacting") }
func backupNote(dir string) string { return filepath.Join(dir, "compacting.json") }

// makeBackup links the files of partitions, named by their folders below kfake's.
func makeBackup(dir string, partitions []string) error {
	if err := removeAll(backupDir(dir)); err != nil {
		return err
	}
	for _, p := range partitions {
		to := filepath.Join(backupDir(dir), p)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return fmt.Errorf("kafkad: %w", err)
		}
		err := eachSegmentFile(filepath.Join(dataDir(dir), p), func(path string) error {
			return os.Link(path, filepath.Join(to, filepath.Base(path)))
		})
		if err != nil {
			return err
		}
	}
	return writeJSON(backupNote(dir), partitions)
}

// dropBackup says that the new files count.
func dropBackup(dir string) error {
	return errors.Join(removeAll(backupNote(dir)), removeAll(backupDir(dir)))
}

// restoreBackup puts the old files back if a compaction was interrupted.
func restoreBackup(dir string) error {
	var partitions []string
	if err := readJSON(backupNote(dir), &partitions); err != nil {
		return err
	}
	for _, p := range partitions {
		to := filepath.Join(dataDir(dir), p)
		if err := eachSegmentFile(to, os.Remove); err != nil {
			return err
		}
		err := eachSegmentFile(filepath.Join(backupDir(dir), p), func(path string) error {
			// Linked, not moved: a second interruption must find everything again.
			return os.Link(path, filepath.Join(to, filepath.Base(path)))
		})
		if err != nil {
			return err
		}
	}
	return dropBackup(dir)
}

// eachSegmentFile calls do for the segments and indexes of a partition's folder, which may be absent.
func eachSegmentFile(dir string, do func(path string) error) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("kafkad: %w", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".dat") && !strings.HasSuffix(e.Name(), ".idx") {
			continue
		}
		if err := do(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("kafkad: %w", err)
		}
	}
	return nil
}

func removeAll(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("kafkad: %w", err)
	}
	return nil
}
