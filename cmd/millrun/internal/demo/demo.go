// Package demo tells the whole story of the product once, on real pictures, and checks each step against what the
// storage, the broker and the database really hold.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/millrun/millrun/cmd/millrun/internal/install"
	"github.com/millrun/millrun/cmd/millrun/internal/roles"
	"github.com/millrun/millrun/internal/config"
)

// Options say how to tell the story.
type Options struct {
	Dir    string   // the demo's own folder; emptied at start
	Images []string // folders with pictures; none: drawn ones
	Once   bool     // end after the story
	Report string   // file for the report; "" for none
	Real   *config.Config
	Out    io.Writer // the story, a line for each check
	Log    *slog.Logger
}

// ErrFailed says that a check of the story did not hold.
var ErrFailed = errors.New("demo: not every check held")

// story is what the steps share. One goroutine tells it.
type story struct {
	o      Options
	in     *install.Installation
	rep    *report
	tenant string
	other  string
	api    *api
	kafka  *kgo.Client
	blobs  *blobs
	worker *worker

	photos   []*photo // everything that was offered
	accepted map[string]*photo
	orders   orders
}

// Run tells the story. It returns ErrFailed when a check did not hold, and another error when the story could not be
// told to its end.
func Run(ctx context.Context, o Options) (err error) {
	photos, err := drawnPhotos()
	if len(o.Images) > 0 {
		photos, err = readPhotos(o.Images)
	}
	if err != nil {
		return err
	}
	if err := emptyDir(o.Dir); err != nil {
		return err
	}
	s, err := begin(ctx, o, photos)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.serve(ctx) })
	g.Go(func() error {
		defer cancel()
		return s.tell(ctx)
	})
	return errors.Join(g.Wait(), s.close())
}

// marker is the file by which the demo knows a folder of its own.
const marker = ".millrun-demo"

// emptyDir removes what an earlier demo left, and refuses a folder that is not a demo's.
func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("demo: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, marker)); len(entries) > 0 && err != nil {
		return fmt.Errorf("%w: %s is not empty and not a demo's; choose another --dir", config.ErrInvalid, dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, marker), nil, 0o600); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}

// begin starts the parts. The tenants are new in every run, so that a cluster that has seen the pictures before takes
// them for new ones.
func begin(ctx context.Context, o Options, photos []*photo) (*story, error) {
	s := &story{o: o, rep: newReport(o.Out), photos: photos, accepted: map[string]*photo{}, tenant: "demo", other: "other"}
	if o.Real != nil {
		run := fmt.Sprintf("-%x", os.Getpid())
		s.tenant, s.other = s.tenant+run, s.other+run
	}
	s.rep.step(1, "Kafka, Blob storage and PostgreSQL start; topics and access are applied")
	var err error
	s.in, err = install.Start(ctx, install.Options{
		Dir: o.Dir, Tenants: []string{s.tenant, s.other}, KafkaMemory: true, External: o.Real, Log: o.Log,
		Sample: true,
		// The story asks for the status of every picture again and again, within one minute.
		Limits: config.Limits{RequestsPerMinute: 60_000},
	})
	if err != nil {
		return nil, err
	}
	s.api = &api{url: s.in.Connection.HTTPURL, key: s.in.Connection.APIKeys[s.tenant]}
	if s.blobs, err = openBlobs(s.in.Connection.BlobConnectionString); err != nil {
		return nil, errors.Join(err, s.in.Close())
	}
	s.kafka, err = kgo.NewClient(kgo.SeedBrokers(s.in.Connection.KafkaBrokers...))
	if err != nil {
		return nil, errors.Join(err, s.in.Close())
	}
	return s, nil
}

// serve runs every role but those of the worker process, which dies in the middle.
func (s *story) serve(ctx context.Context) error {
	set := &roles.Set{Config: s.in.Config, Clock: s.in.Clock, Log: s.o.Log}
	return set.Run(ctx, []string{roles.API, roles.Feed, roles.Archive, roles.Purge, roles.Analytics}, nil)
}

// tell goes through the steps, prints the last line and, unless it is told once only, stays until ctx ends.
func (s *story) tell(ctx context.Context) error {
	var err error
	if s.worker, err = startWorker(s.in.Dir); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		s.parts, s.uploads, s.processing, s.archive, s.shop, s.analyst, s.crash, s.purge,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if s.o.Report != "" {
		if err := s.rep.write(s.o.Report); err != nil {
			return err
		}
	}
	if !s.o.Once {
		fmt.Fprintf(s.o.Out, "\n%s\nstaying up: %s, details in %s; Ctrl-C ends\n", s.rep.last(), s.in.Connection.HTTPURL, filepath.Join(s.in.Dir, install.ConnectionFile))
		if err := s.in.WriteConnection(); err != nil {
			return err
		}
		<-ctx.Done()
	}
	fmt.Fprintf(s.o.Out, "\n%s\n", s.rep.last())
	if s.rep.failed() > 0 {
		return ErrFailed
	}
	return nil
}

func (s *story) close() error {
	var faults []error
	if s.worker != nil {
		faults = append(faults, s.worker.stop())
	}
	s.kafka.Close()
	return errors.Join(append(faults, s.in.Close())...)
}
