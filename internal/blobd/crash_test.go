package blobd_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/millrun/millrun/internal/blobd"
)

// crashDirVariable makes the test binary the child of TestKilledServerKeepsWhatItAcknowledged.
const crashDirVariable = "BLOBD_TEST_CRASH_DIR"

// crashChild serves dir until it is killed and prints where.
func crashChild(dir string) {
	s, err := blobd.Open(blobd.Config{Dir: dir, Account: account, Key: key, Log: slog.New(slog.DiscardHandler),
		Containers: []blobd.ContainerConfig{{Name: "plain"}, {Name: "worm", ImmutableWithVersioning: true}}})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	addr, err := s.Listen("127.0.0.1:0")
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println(addr)
	_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent at the latest
	os.Exit(0)
}

// startCrashChild runs a server in a process of its own and returns its address and how to kill it.
func startCrashChild(t *testing.T, dir string) (string, func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashDirVariable+"="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error") {
		t.Fatalf("server did not start: %q %v", line, err)
	}
	return strings.TrimSpace(line), func() {
		_ = cmd.Process.Kill() // SIGKILL: nothing of the server runs any more
		_ = cmd.Wait()
		_ = stdin.Close()
	}
}

func TestKilledServerKeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	const rounds, writers = 8, 3
	dir := t.TempDir()
	acked := map[string]string{} // what each name must hold
	for round := range rounds {
		addr, kill := startCrashChild(t, dir)
		results := make(chan map[string]string, writers)
		enough := make(chan struct{}, writers)
		for w := range writers {
			go func() { results <- writeUntilKilled(addr, fmt.Sprintf("%d-%d", round, w), 9+4*round, enough) }()
		}
		for range writers {
			<-enough // every writer has made progress before the kill
		}
		kill()
		for range writers {
			maps.Copy(acked, <-results)
		}
		checkAcked(t, dir, acked)
	}
	if len(acked) < rounds*writers {
		t.Fatalf("only %d writes were acknowledged in %d rounds: the test shows nothing", len(acked), rounds)
	}
	t.Logf("%d acknowledged writes survived %d kills", len(acked), rounds)
}

// writeUntilKilled writes, overwrites and deletes blobs until the server is gone, and says enough after quota of them. It returns what was acknowledged:
// the text each name must hold, "" for a deleted one. A write in flight at the kill is in neither.
func writeUntilKilled(addr, tag string, quota int, enough chan<- struct{}) map[string]string {
	acked := map[string]string{}
	signal := sync.OnceFunc(func() { enough <- struct{}{} })
	defer signal()
	client, err := service.NewClientFromConnectionString(blobd.ConnectionString(addr, account, key),
		&service.ClientOptions{ClientOptions: noRetry()})
	if err != nil {
		return acked
	}
	ctx := context.Background()
	for i := 0; ; i++ {
		if i == quota {
			signal()
		}
		name := tag + "/" + strconv.Itoa(i/3)
		text := strings.Repeat(name+" round "+strconv.Itoa(i)+";", 500)
		c := client.NewContainerClient([]string{"plain", "worm"}[i/3%2])
		full := c.URL()[strings.LastIndex(c.URL(), "/")+1:] + "|" + name
		b := c.NewBlockBlobClient(name)
		switch i % 3 {
		case 0:
			_, err = b.Upload(ctx, body(text), nil)
		case 1:
			text, err = stageTwo(ctx, b, text)
		case 2:
			text = ""
			_, err = b.Delete(ctx, nil)
		}
		if err != nil {
			delete(acked, full) // in flight: either state is right
			return acked
		}
		if text == "" && i%2 == 0 {
			// Leave every second blob in place.
			text = strings.Repeat("again;", i)
			if _, err = b.Upload(ctx, body(text), nil); err != nil {
				delete(acked, full)
				return acked
			}
		}
		acked[full] = text
	}
}

// checkAcked opens the folder again and compares.
func checkAcked(t *testing.T, dir string, acked map[string]string) {
	t.Helper()
	s, err := blobd.Open(blobd.Config{Dir: dir, Account: account, Key: key, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	addr := must(s.Listen("127.0.0.1:0"))(t)
	client := connect(t, s.ConnectionString(addr))
	for full, text := range acked {
		where, name, _ := strings.Cut(full, "|")
		c := client.NewContainerClient(where)
		if text == "" {
			_, err := c.NewBlobClient(name).GetProperties(ctx, nil)
			wantError(t, err, 404, "BlobNotFound")
			continue
		}
		if got := get(t, c, name); got != text {
			t.Fatalf("%s holds %d bytes, %d were acknowledged", full, len(got), len(text))
		}
	}
}
