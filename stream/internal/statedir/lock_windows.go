package statedir

import (
	"errors"
	"syscall"
)

// errLocked says that another process, or another opening in this one, has the lock.
var errLocked = errors.New("locked")

// sharingViolation is what opening answers when another one has the file and does not share it.
const sharingViolation syscall.Errno = 32

// lock is a file that nobody else can open, which the system gives back when its holder dies.
type lock struct{ file syscall.Handle }

func acquire(path string) (*lock, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, sharingViolation) {
		return nil, errLocked
	}
	if err != nil {
		return nil, err
	}
	return &lock{h}, nil
}

func (l *lock) release() error { return syscall.CloseHandle(l.file) }

// vanish does nothing: a file that is open cannot be removed.
func (*lock) vanish() {}

// syncDir does nothing: directories cannot be synced.
func syncDir(string) error { return nil }
