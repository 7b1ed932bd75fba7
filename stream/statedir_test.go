package stream_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrun/millrun/stream"
)

func TestCleanUpRemovesWhatIsOnDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := stream.NewBuilder()
	b.Stream[string, string]("in").To("out")
	app, err := stream.NewApp(b, stream.Config{ApplicationID: "app", Brokers: []string{"127.0.0.1:1"}, StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.CleanUp(); err != nil {
		t.Errorf("there is nothing: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "app", "0_0"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := app.CleanUp(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "app")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}
