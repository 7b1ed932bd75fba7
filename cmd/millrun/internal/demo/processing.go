package demo

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"net/http"
	"slices"
	"time"

	"github.com/millrun/millrun/cmd/millrun/internal/install"
)

// processing waits until every picture has its final status and compares it with our own decoding.
func (s *story) processing(ctx context.Context) error {
	s.rep.step(3, "The worker decodes, makes thumbnails and runs the company's code in another process")
	s.rep.check("every image reaches a final status, by polling", func() (string, error) {
		return s.awaitFinal(ctx, s.accepted, time.Minute)
	})
	s.rep.check("whole pictures are archived with the width, height and format that they have", func() (string, error) {
		return s.compareStatuses(ctx)
	})
	s.rep.check("corrupted pictures are rejected with a reason", func() (string, error) {
		rejected := 0
		for _, p := range s.accepted {
			if p.decodes {
				continue
			}
			_, st, err := s.api.status(ctx, p.id)
			if err != nil {
				return "", err
			}
			if st.Status != "rejected" || st.Error == nil {
				return "", fmt.Errorf("%s is %s, error %v", p.name, st.Status, st.Error)
			}
			rejected++
		}
		s.rep.Counts["rejected"] = rejected
		return fmt.Sprintf("%d rejected", rejected), nil
	})
	s.rep.check("each history is accepted, processing, archived in this order of time", func() (string, error) { return s.histories(ctx) })
	s.rep.check("thumbnails are pictures of at most 320 pixels", func() (string, error) { return s.thumbnails(ctx) })
	s.rep.check("the company's step "+install.SampleStep+" made a picture of each, in a process of its own", func() (string, error) {
		return s.derived(ctx, install.SampleStep)
	})
	return ctx.Err()
}

// awaitFinal waits until none of the photos is under way.
func (s *story) awaitFinal(ctx context.Context, photos map[string]*photo, limit time.Duration) (string, error) {
	begun := time.Now()
	open := make([]string, 0, len(photos))
	for id := range photos {
		open = append(open, id)
	}
	err := await(ctx, limit, func() error {
		for len(open) > 0 {
			ans, st, err := s.api.status(ctx, open[0])
			if err != nil {
				return err
			}
			if !slices.Contains([]string{"archived", "rejected", "failed"}, st.Status) {
				return fmt.Errorf("%d of %d are under way; %s answers %d, status %q", len(open), len(photos), photos[open[0]].name, ans.code, st.Status)
			}
			open = open[1:]
		}
		return nil
	})
	return fmt.Sprintf("%d images after %s", len(photos), time.Since(begun).Round(100*time.Millisecond)), err
}

func (s *story) compareStatuses(ctx context.Context) (string, error) {
	archived := 0
	for _, p := range s.accepted {
		if !p.decodes {
			continue
		}
		_, st, err := s.api.status(ctx, p.id)
		if err != nil {
			return "", err
		}
		if st.Status != "archived" || st.Width != p.width || st.Height != p.height || st.Format != p.format {
			return "", fmt.Errorf("%s is %s %s %dx%d (%v), want archived %s %dx%d", p.name, st.Status, st.Format, st.Width, st.Height, st.Error, p.format, p.width, p.height)
		}
		if st.SHA256 != fmt.Sprintf("%x", p.sha) || st.Bytes != int64(len(p.bytes)) {
			return "", fmt.Errorf("%s: digest or size differ", p.name)
		}
		archived++
	}
	s.rep.Counts["archived"] = archived
	return fmt.Sprintf("%d archived", archived), nil
}

func (s *story) histories(ctx context.Context) (string, error) {
	for _, p := range s.accepted {
		if !p.decodes {
			continue
		}
		_, st, err := s.api.status(ctx, p.id)
		if err != nil {
			return "", err
		}
		var names []string
		for i, h := range st.History {
			names = append(names, h.Status)
			if i > 0 && h.At.Before(st.History[i-1].At) {
				return "", fmt.Errorf("%s: %s is earlier than %s", p.name, h.Status, names[i-1])
			}
		}
		if !slices.Equal(names, []string{"accepted", "processing", "archived"}) {
			return "", fmt.Errorf("%s went through %v", p.name, names)
		}
	}
	return "", nil
}

func (s *story) thumbnails(ctx context.Context) (string, error) {
	n := 0
	for _, p := range s.accepted {
		if !p.decodes {
			continue
		}
		ans, err := s.api.get(ctx, "/v1/images/"+p.id+"/derivatives/thumbnail")
		if err != nil {
			return "", err
		}
		if err := ans.want(http.StatusOK); err != nil {
			return "", fmt.Errorf("%s: %w", p.name, err)
		}
		img, format, err := image.Decode(bytes.NewReader(ans.body))
		if err != nil {
			return "", fmt.Errorf("%s: %w", p.name, err)
		}
		if b := img.Bounds(); b.Dx() > 320 || b.Dy() > 320 || b.Empty() {
			return "", fmt.Errorf("%s: the thumbnail is a %s of %v", p.name, format, b)
		}
		n++
	}
	return fmt.Sprintf("%d decoded", n), nil
}

func (s *story) derived(ctx context.Context, step string) (string, error) {
	n := 0
	for _, p := range s.accepted {
		if !p.decodes {
			continue
		}
		_, st, err := s.api.status(ctx, p.id)
		if err != nil {
			return "", err
		}
		found := false
		for _, d := range st.Derivatives {
			if d.Step != step {
				continue
			}
			ans, err := s.api.get(ctx, "/v1/images/"+p.id+"/derivatives/"+d.Name)
			if err != nil {
				return "", err
			}
			if _, _, err := image.Decode(bytes.NewReader(ans.body)); err != nil {
				return "", fmt.Errorf("%s: derivative %s: %d %w", p.name, d.Name, ans.code, err)
			}
			found = true
		}
		if !found {
			return "", fmt.Errorf("%s has no derivative of %s: %+v %v", p.name, step, st.Derivatives, st.Error)
		}
		n++
	}
	return fmt.Sprintf("%d decoded", n), nil
}
