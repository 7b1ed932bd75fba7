package demo

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/cmd/millrun/internal/roles"
)

// purge moves the clock past seven days, and a day more, and looks for anything that is left.
func (s *story) purge(ctx context.Context) error {
	s.rep.step(8, "Seven days and a day later nothing is left, and the ledger proves it")
	if _, err := s.in.Clock.Advance(8*24*time.Hour + time.Hour); err != nil {
		return err
	}
	c := s.in.Config.Blob.Containers
	for _, in := range []string{c.Archive, c.Staging} {
		s.rep.check("container "+in+" holds no blob, version or snapshot", func() (string, error) { return "", s.awaitEmpty(ctx, in, "") })
	}
	s.rep.check("the analysts' rows about images are gone with their files", func() (string, error) {
		return "", s.awaitEmpty(ctx, c.Analytics, "image_events/")
	})
	s.rep.check("an image answers 410 with the time of its purge, and its content is not served", func() (string, error) { return s.gone(ctx) })
	s.rep.check("the ledger's chain is whole, and says of every image that it was purged", func() (string, error) {
		r, err := roles.VerifyCompliance(ctx, s.in.Config, s.in.Clock)
		if err != nil {
			return "", err
		}
		if r.Purged < len(s.wholeIDs()) {
			return "", fmt.Errorf("%d purges are proved, want at least %d", r.Purged, len(s.wholeIDs()))
		}
		return fmt.Sprintf("%d purges", r.Purged), nil
	})
	if s.o.Real != nil {
		s.kafkaCopies(ctx)
	} else {
		s.rep.check("no topic holds a record that names an image", func() (string, error) { return s.searchTopics(ctx) })
	}
	s.rep.check("a byte search over every file of the demo's folder finds nothing", func() (string, error) { return s.searchFiles(ctx) })
	s.rep.check("the shop's orders are still there: they are no images", func() (string, error) { return "", s.compareOrders(ctx) })
	return ctx.Err()
}

// wholeIDs are the images that were archived.
func (s *story) wholeIDs() []string {
	var ids []string
	for id, p := range s.accepted {
		if p.decodes {
			ids = append(ids, id)
		}
	}
	return ids
}

// due is how long what has become due may take (contract: done within 60 s).
const due = 60 * time.Second

func (s *story) awaitEmpty(ctx context.Context, in, prefix string) error {
	return await(ctx, due, func() error {
		items, err := s.blobs.list(ctx, in, prefix)
		if err != nil {
			return err
		}
		if len(items) > 0 {
			return fmt.Errorf("%d are left, %s the first", len(items), items[0].name)
		}
		return nil
	})
}

func (s *story) gone(ctx context.Context) (string, error) {
	ids := s.wholeIDs()
	return fmt.Sprintf("%d images", len(ids)), await(ctx, due, func() error {
		for _, id := range ids {
			ans, st, err := s.api.status(ctx, id)
			if err != nil {
				return err
			}
			if err := ans.want(http.StatusGone); err != nil {
				return err
			}
			if st.PurgedAt.IsZero() {
				return errors.New("410 without purged_at")
			}
		}
		ans, err := s.api.get(ctx, "/v1/images/"+ids[0]+"/content")
		if err != nil {
			return err
		}
		return ans.want(http.StatusGone, http.StatusNotFound)
	})
}

// traces are what must not be found: each image's name, its digest in hex and as bytes, and a piece of its content.
func (s *story) traces() *needles {
	n := newNeedles()
	for id, p := range s.accepted {
		n.add([]byte(id), "name of "+p.name)
		n.add([]byte(hex.EncodeToString(p.sha[:])), "digest of "+p.name)
		n.add(p.sha[:], "digest of "+p.name)
		if piece := telling(p.bytes); piece != nil {
			n.add(piece, "content of "+p.name)
		}
	}
	return n
}

func (s *story) searchTopics(ctx context.Context) (string, error) {
	n := s.traces()
	read := 0
	err := awaitEvery(ctx, due, time.Second, func() error {
		var found error
		var err error
		read, err = s.eachRecord(ctx, func(r *kgo.Record) {
			for _, b := range [][]byte{r.Key, r.Value} {
				if what := n.in(b); what != "" && found == nil {
					found = fmt.Errorf("%s/%d at %d holds the %s", r.Topic, r.Partition, r.Offset, what)
				}
			}
		})
		return errors.Join(err, found)
	})
	return fmt.Sprintf("%d records read", read), err
}

func (s *story) searchFiles(ctx context.Context) (string, error) {
	n := s.traces()
	files := 0
	err := awaitEvery(ctx, due, time.Second, func() error {
		var err error
		files, err = n.searchDir(s.in.Dir)
		return err
	})
	return fmt.Sprintf("%d traces sought in %d files", n.count(), files), err
}
