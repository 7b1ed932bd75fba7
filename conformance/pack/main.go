// Command pack makes a folder of vectors the project's own copy: pack <folder> [file].
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/millrun/millrun/conformance/set"
)

// packed is where the tests look.
const packed = "conformance/testdata/set.tar.gz"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("usage: pack <folder> [file], the file being %s unless named", packed)
	}
	file := packed
	if len(args) == 2 {
		file = args[1]
	}
	s, err := set.Load(args[0])
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := s.Pack(&b); err != nil {
		return err
	}
	fmt.Printf("%d files, %d KiB\n", len(s), b.Len()>>10)
	return os.WriteFile(file, b.Bytes(), 0o644)
}
