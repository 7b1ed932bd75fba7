//go:build !unix

package blobd

import (
	"fmt"
	"os"
)

// lock opens the lock file. Without flock two servers on one folder are not kept apart.
func (d *disk) lock() (*os.File, error) {
	f, err := d.root.OpenFile("lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("blobd: %w", err)
	}
	return f, nil
}

// unlock closes the lock file.
func unlock(f *os.File) error { return f.Close() }
