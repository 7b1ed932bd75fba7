package stream_test

import (
	"testing"

	"pgregory.net/rapid"
)

// each is the test as one check of a model sees it: what the check made ends with it, not with the test, which makes
// thousands; and what fails it is shrunk.
type each struct {
	testing.TB
	check *rapid.T
}

// Cleanup ends with the check.
func (e each) Cleanup(f func()) { e.check.Cleanup(f) }

// Fatal fails the check.
func (e each) Fatal(args ...any) { e.check.Fatal(args...) }

// Fatalf fails the check.
func (e each) Fatalf(format string, args ...any) { e.check.Fatalf(format, args...) }

// Errorf fails the check.
func (e each) Errorf(format string, args ...any) { e.check.Errorf(format, args...) }
