// Package set reads and packs sets of conformance vectors.
package set

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The folders of a set. Others are not looked at.
const (
	Vectors        = "vectors"
	Descriptions   = "descriptions"
	InternalTopics = "internal-topics"
	Formats        = "formats"
)

// Set is the content of all files of a set by their path, with slashes, below its folder.
type Set map[string][]byte

// ErrEmpty says that there is no vector.
var ErrEmpty = errors.New("there is not one file in " + Vectors + "/")

// Load reads the set in a folder. Folders that are not there hold nothing; a set without vectors is an error.
func Load(dir string) (Set, error) {
	s := Set{}
	for _, folder := range []string{Vectors, Descriptions, InternalTopics, Formats} {
		err := filepath.WalkDir(filepath.Join(dir, folder), func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(dir, file)
			if err != nil {
				return err
			}
			s[filepath.ToSlash(rel)], err = os.ReadFile(file)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("set: %w", err)
		}
	}
	return s, s.check(dir)
}

func (s Set) check(where string) error {
	if len(s.Files(Vectors)) == 0 {
		return fmt.Errorf("set %s: %w", where, ErrEmpty)
	}
	return nil
}

// Files are the paths in a folder, sorted.
func (s Set) Files(folder string) []string {
	var out []string
	for _, p := range slices.Sorted(maps.Keys(s)) {
		if strings.HasPrefix(p, folder+"/") {
			out = append(out, p)
		}
	}
	return out
}

// Topology is the name of the topology that a file is about, and, for a description, the optimization it has been made
// with, "" if none is named. A file of formats is about none.
func Topology(file string) (name, optimization string) {
	switch folder, rest, _ := strings.Cut(file, "/"); folder {
	case Vectors:
		return path.Dir(rest), ""
	case Descriptions:
		name, optimization, _ = strings.Cut(strings.TrimSuffix(rest, ".txt"), ".")
		return name, optimization
	case InternalTopics:
		return strings.TrimSuffix(rest, ".json"), ""
	default:
		return "", ""
	}
}

// Pack writes the set as a compressed archive. The same set gives the same bytes.
func (s Set) Pack(w io.Writer) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return fmt.Errorf("set: %w", err)
	}
	t := tar.NewWriter(z)
	for _, p := range slices.Sorted(maps.Keys(s)) {
		h := &tar.Header{Name: p, Size: int64(len(s[p])), Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("set: %s: %w", p, err)
		}
		if _, err := t.Write(s[p]); err != nil {
			return fmt.Errorf("set: %s: %w", p, err)
		}
	}
	return errors.Join(t.Close(), z.Close())
}

// Unpack reads what Pack wrote.
func Unpack(r io.Reader) (Set, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("set: %w", err)
	}
	t := tar.NewReader(z)
	s := Set{}
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return s, s.check("packed")
		}
		if err != nil {
			return nil, fmt.Errorf("set: %w", err)
		}
		if s[h.Name], err = io.ReadAll(t); err != nil {
			return nil, fmt.Errorf("set: %s: %w", h.Name, err)
		}
	}
}
