// Package lint holds the rules of this code base that no general linter knows, as tests that print the remedy.
//
// It reads the module's own sources; the tests are in lint_test.go, one for each rule.
package lint

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// File is a parsed source file of the module.
type File struct {
	Path  string // below the module's root, with slashes
	Lines int
	Test  bool
	Fset  *token.FileSet
	AST   *ast.File
}

// Package is the folder of the file.
func (f *File) Package() string { return filepath.ToSlash(filepath.Dir(f.Path)) }

// Root finds the module's root above the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("lint: no go.mod above the working directory")
		}
		dir = up
	}
}

// Files parses every Go file of the module; folders that git ignores, nested modules and testdata are left out.
func Files(root string) ([]*File, error) {
	var files []*File
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter(root, path, d.Name())
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parse(root, path)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

func enter(root, path, name string) error {
	if path == root {
		return nil
	}
	if strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

func parse(root, path string) (*File, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return nil, err
	}
	return &File{
		Path: filepath.ToSlash(rel), Lines: strings.Count(string(src), "\n"),
		Test: strings.HasSuffix(path, "_test.go"), Fset: fset, AST: tree,
	}, nil
}
