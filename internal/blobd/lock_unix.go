//go:build unix

package blobd

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock takes the folder for this process until it ends, however it ends: the kernel drops the lock with the process.
func (d *disk) lock() (*os.File, error) {
	f, err := d.root.OpenFile("lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("blobd: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("blobd: %s is open in another server; stop that one first", d.root.Name()),
			f.Close())
	}
	return f, nil
}

// unlock gives the folder free at once, also while a program that is just being started still holds a copy of the file.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
