package crash

import (
	"context"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// built are the programs, built once for all tests of the package, in a folder that goes with them.
var built = sync.OnceValues(func() (Programs, error) {
	dir, err := os.MkdirTemp("", "millrun-crash-test-")
	if err != nil {
		return Programs{}, err
	}
	builtIn = dir
	return Build(context.Background(), dir)
})

var builtIn string

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if builtIn != "" {
			os.RemoveAll(builtIn)
		}
		os.Exit(code)
	}))
}

func programs(t *testing.T) Programs {
	t.Helper()
	p, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// workplace is a folder for a run, kept when the test fails.
func workplace(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "millrun-crash-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("state and logs are in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
