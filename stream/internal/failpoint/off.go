//go:build !synctests

package failpoint

import "context"

// Set is nothing without the tag synctests.
type Set struct{}

// From is always nil without the tag synctests.
func From(context.Context) *Set { return nil }

// At does nothing without the tag synctests.
func (*Set) At(string) {}

// Planted is false without the tag synctests.
func (*Set) Planted(string) bool { return false }
