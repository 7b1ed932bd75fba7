//go:build unix && !solaris && !aix

package statedir

import (
	"errors"
	"os"
	"syscall"
)

// errLocked says that another process, or another opening in this one, has the lock.
var errLocked = errors.New("locked")

// lock is a lock among processes, which the kernel takes back when its holder dies.
type lock struct{ file *os.File }

// acquire takes the lock, unless the file was removed while it was being opened: then there is another one.
func acquire(path string) (*lock, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err = exclude(f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		mine, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(mine, now) {
			return &lock{f}, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

func exclude(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errLocked
		default:
			return err
		}
	}
}

// release unlocks before it closes: a process that is being started holds a copy of every open file for a moment.
func (l *lock) release() error {
	return errors.Join(syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN), l.file.Close())
}

// vanish removes the file, before release.
func (l *lock) vanish() { _ = os.Remove(l.file.Name()) }

// syncDir makes what was renamed in a directory lasting.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
