package azblob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/millrun/millrun/internal/clock"
)

// ledgerFile bounds a file of the ledger when it is read.
const ledgerFile = 64 << 20

// ledgerBatch is how many lines one file holds at most.
const ledgerBatch = 5000

// LedgerConfig says where the ledger is and with which key it names images.
type LedgerConfig struct {
	// Clock stamps the lines. Default: the machine's clock.
	Clock clock.Clock

	// Container is the container's name.
	Container string

	// Key is the HMAC's secret, at least 16 bytes. It never leaves the process.
	Key []byte

	// Log hears of a ledger that PurgedSet.Run cannot read. Default: slog.Default().
	Log *slog.Logger
}

func (c LedgerConfig) withDefaults() (LedgerConfig, error) {
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if len(c.Key) < 16 {
		return c, errors.New("azblob: the ledger's HMAC key has fewer than 16 bytes; set retention.hmac_key")
	}
	return c, nil
}

// Ledger is the evidence of what was stored and purged: files of lines in a container, each line linked to the one
// before it by a digest. One process writes it; a second one is found out by the conditional creation of files and
// answered with ErrLedgerMoved. Safe for concurrent use.
type Ledger struct {
	cfg LedgerConfig
	c   *container.Client

	mu     sync.Mutex
	loaded bool
	end    chain
	day    string // of the newest file: names must not go back
	open   map[string]Line
	held   map[string]bool
}

// OpenLedger reads the whole ledger and checks its chain.
func OpenLedger(ctx context.Context, a *Account, cfg LedgerConfig) (*Ledger, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Ledger{cfg: cfg, c: a.Container(cfg.Container)}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l, l.load(ctx)
}

// HMAC is how the ledger names an image.
func (l *Ledger) HMAC(tenant, imageID string) string { return imageHMAC(l.cfg.Key, tenant, imageID) }

// Reload reads the ledger again, as after ErrLedgerMoved.
func (l *Ledger) Reload(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.load(ctx)
}

// load rebuilds the state from the storage. The caller holds mu.
func (l *Ledger) load(ctx context.Context) error {
	l.loaded, l.end, l.day = false, chain{}, ""
	l.open, l.held = map[string]Line{}, map[string]bool{}
	err := readLedger(ctx, l.c, "", func(name string, content []byte) error {
		l.day = path.Dir(name)
		return l.end.check(name, content, l.apply)
	})
	if err != nil {
		return err
	}
	l.loaded = true
	return nil
}

// apply takes a line into the state. The caller holds mu.
func (l *Ledger) apply(line Line) {
	if line.Scope != ScopeArchive {
		return
	}
	switch life := line.life(); line.Action {
	case ActionStored:
		l.open[life] = line
	case ActionHeld:
		l.held[life] = true
	case ActionReleased:
		delete(l.held, life)
	case ActionPurged:
		delete(l.open, life)
		delete(l.held, life)
	}
}

// Append adds lines. They are in the storage, in this order, when it returns nil. At is set to now where it is zero.
func (l *Ledger) Append(ctx context.Context, lines ...Line) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.loaded {
		return ErrLedgerMoved
	}
	for batch := range slices.Chunk(lines, ledgerBatch) {
		if err := l.write(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// write puts one file. Its name says the number of its first line, so two writers on the same state collide.
func (l *Ledger) write(ctx context.Context, lines []Line) error {
	now := l.cfg.Clock.Now().UTC().Truncate(time.Second)
	day := max(now.Format("2006/01/02"), l.day)
	name := fmt.Sprintf("%s/%012d.jsonl", day, l.end.seq+1)
	end := l.end
	var content bytes.Buffer
	for i := range lines {
		if lines[i].At.IsZero() {
			lines[i].At = now
		}
		b, err := end.seal(&lines[i])
		if err != nil {
			return err
		}
		content.Write(append(b, '\n'))
	}
	_, err := l.c.NewBlockBlobClient(name).Upload(ctx, streaming.NopCloser(bytes.NewReader(content.Bytes())), &blockblob.UploadOptions{
		HTTPHeaders:             &blob.HTTPHeaders{BlobContentType: new("application/x-ndjson")},
		AccessConditions:        &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: new(azcore.ETagAny)}},
		TransactionalValidation: blob.TransferValidationTypeMD5(md5Of(content.Bytes())),
	})
	if err != nil {
		// Whether it was written is not known; only the storage can say.
		l.loaded = false
		if bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet) {
			return ErrLedgerMoved
		}
		return fmt.Errorf("azblob: write the ledger: %w", brief(err))
	}
	l.end, l.day = end, day
	for _, line := range lines {
		l.apply(line)
	}
	return nil
}

// openLives are the images that the ledger says are stored, by life.
func (l *Ledger) openLives() map[string]Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]Line, len(l.open))
	maps.Copy(out, l.open)
	return out
}

func (l *Ledger) isHeld(life string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[life]
}

func (l *Ledger) isLoaded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.loaded
}

// readLedger calls f with every file under a prefix in the order of the chain.
func readLedger(ctx context.Context, c *container.Client, prefix string, f func(name string, content []byte) error) error {
	var names []string
	err := each(ctx, c, prefix, container.ListBlobsInclude{}, func(e Entry) error {
		if strings.HasSuffix(e.Name, ".jsonl") {
			names = append(names, e.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(names, func(a, b string) int { return int(fileSeq(a) - fileSeq(b)) })
	for _, name := range names {
		resp, err := c.NewBlobClient(name).DownloadStream(ctx, nil)
		if err != nil {
			return fmt.Errorf("azblob: read %s: %w", name, brief(err))
		}
		body := resp.NewRetryReader(ctx, nil)
		content, err := io.ReadAll(io.LimitReader(body, ledgerFile))
		if err = errors.Join(err, body.Close()); err != nil {
			return fmt.Errorf("azblob: read %s: %w", name, err)
		}
		if err := f(name, content); err != nil {
			return err
		}
	}
	return nil
}

// fileSeq is the number of a file's first line.
func fileSeq(name string) int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(path.Base(name), ".jsonl"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
