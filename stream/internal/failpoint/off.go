//go:build !synctests

package failpoint

import "context"

// Set is nothing without the tag synctests.
type Set struct{}

// From is always nil without the tag synctests.
func From(context.Context) *Set { return nil }

// At does nothing without the tag synctests.
func (*Set) At(string) {}

// Bug is false without the tag synctests.
func (*Set) Bug(string) bool { return false }
