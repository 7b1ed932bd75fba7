package conformance_test

import (
	"fmt"
	stdio "io" // the topologies have a word io
	"runtime/debug"
	"slices"
	"testing"
)

// probe stands for testing.TB where a driver asks for one: what goes wrong is the item's failure, not the test's.
type probe struct {
	testing.TB // for what a driver asks of no item in particular: folders, a context

	said  []string
	after []func()
}

// stopped is how Fatal leaves.
type stopped struct{}

func (p *probe) Helper()                        {}
func (p *probe) Log(...any)                     {}
func (p *probe) Logf(string, ...any)            {}
func (p *probe) Output() stdio.Writer           { return stdio.Discard }
func (p *probe) Cleanup(f func())               { p.after = append(p.after, f) }
func (p *probe) Failed() bool                   { return len(p.said) > 0 }
func (p *probe) Error(args ...any)              { p.said = append(p.said, fmt.Sprint(args...)) }
func (p *probe) Errorf(format string, a ...any) { p.said = append(p.said, fmt.Sprintf(format, a...)) }
func (p *probe) Fail()                          { p.Error("failed") }

func (p *probe) FailNow() {
	p.Fail()
	panic(stopped{})
}

func (p *probe) Fatal(args ...any) {
	p.Error(args...)
	panic(stopped{})
}

func (p *probe) Fatalf(format string, a ...any) {
	p.Errorf(format, a...)
	panic(stopped{})
}

// try does f with a probe and returns the difference that f found, or what else went wrong.
func try(tb testing.TB, f func(p *probe) string) (diff string) {
	p := &probe{TB: tb}
	func() {
		defer p.caught(&diff)
		diff = f(p)
	}()
	for _, f := range slices.Backward(p.after) {
		func() {
			defer p.caught(&diff)
			f()
		}()
	}
	if diff == "" && len(p.said) > 0 {
		diff = p.said[0]
	}
	return diff
}

func (p *probe) caught(diff *string) {
	switch r := recover().(type) {
	case nil, stopped:
	default:
		if *diff == "" {
			*diff = fmt.Sprintf("panic: %v\n%s", r, debug.Stack())
		}
	}
}
