package pgd

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// identity is the user that PostgreSQL runs under when it must not be ours; nil means our own.
type identity struct {
	name     string
	uid, gid uint32
}

// otherIdentity is nil unless we are root, which PostgreSQL refuses to run as. initdb asks for the user's name, so it
// must be a user that the machine knows.
func otherIdentity() (*identity, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody", "daemon"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uerr, gerr); err != nil {
			return nil, fmt.Errorf("pgd: user %s: %w", name, err)
		}
		if uid != 0 {
			return &identity{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("pgd: PostgreSQL refuses to run as root, and this machine has none of the users postgres, nobody, daemon: " +
		"start as another user or add one of them")
}

// credential is what the kernel is told; nil for our own identity.
func (i *identity) credential() *syscall.Credential {
	if i == nil {
		return nil
	}
	return &syscall.Credential{Uid: i.uid, Gid: i.gid}
}

// give makes the identity owner of a file.
func (i *identity) give(path string) error {
	if i == nil {
		return nil
	}
	if err := os.Chown(path, int(i.uid), int(i.gid)); err != nil {
		return fmt.Errorf("pgd: hand %s to user %s: %w", path, i.name, err)
	}
	return nil
}

// reaches says whether the identity may enter the folder dir, judged by the mode bits of it and of every folder above.
func (i *identity) reaches(dir string) bool {
	if i == nil {
		return true
	}
	for {
		info, err := os.Stat(dir)
		if err != nil || !i.mayEnter(info) {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

func (i *identity) mayEnter(info os.FileInfo) bool {
	mode := info.Mode().Perm()
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	switch {
	case st.Uid == i.uid:
		return mode&0o100 != 0
	case st.Gid == i.gid:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}
