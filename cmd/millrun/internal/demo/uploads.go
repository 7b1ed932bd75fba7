package demo

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/events"
)

// uploads offers the pictures by every door: most by the API, every third by the company's feed.
func (s *story) uploads(ctx context.Context) error {
	s.rep.step(2, "Pictures arrive by the API and by the company's feed")
	var byAPI, byFeed []*photo
	for i, p := range s.photos {
		if i%3 == 2 && p.decodes {
			byFeed = append(byFeed, p)
		} else {
			byAPI = append(byAPI, p)
		}
	}
	s.uploadRaw(ctx, byAPI)
	s.uploadForm(ctx)
	s.feed(ctx, byFeed)
	s.duplicates(ctx, byAPI, byFeed)
	return errors.Join(s.refusals(ctx), ctx.Err())
}

// took notes that a picture is in.
func (s *story) took(p *photo, origin string) {
	p.id, p.origin = p.idFor(s.tenant), origin
	s.accepted[p.id] = p
}

func (s *story) uploadRaw(ctx context.Context, photos []*photo) {
	refused := 0
	s.rep.check("the API accepts every whole picture with 202 and names it by its content", func() (string, error) {
		in := 0
		for _, p := range photos {
			ans, r, err := s.api.upload(ctx, "application/octet-stream", p.bytes)
			if err != nil {
				return "", err
			}
			if ans.code != http.StatusAccepted {
				if p.decodes {
					return "", fmt.Errorf("%s: %w", p.name, ans.want(http.StatusAccepted))
				}
				refused++
				continue
			}
			if r.ImageID != p.idFor(s.tenant) || r.Duplicate {
				return "", fmt.Errorf("%s is called %s (duplicate %t), want %s", p.name, r.ImageID, r.Duplicate, p.idFor(s.tenant))
			}
			s.took(p, events.OriginAPI)
			in++
		}
		s.rep.Counts["uploaded"] = in
		return fmt.Sprintf("%d in, %d corrupted ones refused at once", in, refused), nil
	})
}

func (s *story) uploadForm(ctx context.Context) {
	s.rep.check("a form of several files answers for each of them", func() (string, error) {
		files, err := variants(s.firstDecoding(), 2, 0x5a)
		if err != nil {
			return "", err
		}
		ans, results, err := s.api.uploadForm(ctx, map[string][]byte{
			files[0].name: files[0].bytes, files[1].name: files[1].bytes, "letter.jpg": []byte("Dear Sir or Madam,\n"),
		})
		if err != nil {
			return "", err
		}
		if err := ans.want(http.StatusMultiStatus); err != nil {
			return "", err
		}
		codes := map[string]int{}
		for _, r := range results {
			if n, ok := r.Status.(float64); ok {
				codes[r.Name] = int(n)
			}
		}
		if codes[files[0].name] != 202 || codes[files[1].name] != 202 || codes["letter.jpg"] != 415 {
			return "", fmt.Errorf("the parts answer %v, want 202, 202 and 415", codes)
		}
		for _, f := range files {
			s.photos = append(s.photos, f)
			s.took(f, events.OriginAPI)
		}
		return "207: 202, 202, 415", nil
	})
}

func (s *story) firstDecoding() *photo {
	for _, p := range s.photos {
		if p.decodes {
			return p
		}
	}
	return s.photos[0]
}

// feed produces to the company's topic: bytes with headers, and every second one as a JSON envelope.
func (s *story) feed(ctx context.Context, photos []*photo) {
	s.rep.check("the feed's pictures enter the same pipeline under the same names", func() (string, error) {
		for i, p := range photos {
			r, err := s.feedRecord(p, i%2 == 1)
			if err != nil {
				return "", err
			}
			if err := s.kafka.ProduceSync(ctx, r).FirstErr(); err != nil {
				return "", err
			}
			s.took(p, events.OriginFeed)
		}
		return fmt.Sprintf("%d fed", len(photos)), await(ctx, 30*time.Second, func() error {
			for _, p := range photos {
				if ans, _, err := s.api.status(ctx, p.id); err != nil || ans.code != http.StatusOK {
					return fmt.Errorf("%s is not known yet: %d %w", p.name, ans.code, err)
				}
			}
			return nil
		})
	})
}

func (s *story) feedRecord(p *photo, envelope bool) (*kgo.Record, error) {
	r := &kgo.Record{Topic: events.TopicCompanyImages, Key: []byte(p.name), Value: p.bytes, Timestamp: s.in.Stamp().Now()}
	if !envelope {
		r.Headers = []kgo.RecordHeader{{Key: "tenant", Value: []byte(s.tenant)}, {Key: "filename", Value: []byte(p.name)}}
		return r, nil
	}
	b, err := json.Marshal(map[string]string{"tenant": s.tenant, "filename": p.name, "data": base64.StdEncoding.EncodeToString(p.bytes)})
	r.Value = b
	return r, err
}

func (s *story) duplicates(ctx context.Context, byAPI, byFeed []*photo) {
	s.rep.check("the same bytes again are a duplicate, by whichever door they came first", func() (string, error) {
		for _, p := range []*photo{firstAccepted(byAPI), firstAccepted(byFeed)} {
			err := await(ctx, 30*time.Second, func() error {
				ans, r, err := s.api.upload(ctx, "image/jpeg", p.bytes)
				if err != nil {
					return err
				}
				if err := ans.want(http.StatusAccepted); err != nil {
					return err
				}
				if !r.Duplicate || r.ImageID != p.id {
					return fmt.Errorf("%s again: id %s, duplicate %t", p.name, r.ImageID, r.Duplicate)
				}
				return nil
			})
			if err != nil {
				return "", err
			}
		}
		return "", nil
	})
}

func firstAccepted(photos []*photo) *photo {
	for _, p := range photos {
		if p.id != "" {
			return p
		}
	}
	return photos[0]
}

// refusals offers what must not get in.
func (s *story) refusals(ctx context.Context) error {
	torn, err := truncatedJPEG(s.photos)
	if err != nil {
		return err
	}
	b, err := bomb()
	if err != nil {
		return err
	}
	s.refused(ctx, "a text file called .jpg is refused with 415", "image/jpeg", []byte("not a picture\n"), http.StatusUnsupportedMediaType)
	s.refused(ctx, fmt.Sprintf("a PNG of 20,000 x 20,000 in %d kB is refused from its header with 422", len(b)/1000), "image/png", b, http.StatusUnprocessableEntity)
	s.rep.check("a truncated photograph gets 422, or is rejected once it is decoded", func() (string, error) {
		ans, _, err := s.api.upload(ctx, "image/jpeg", torn.bytes)
		if err != nil {
			return "", err
		}
		if ans.code == http.StatusAccepted {
			s.photos = append(s.photos, torn)
			s.took(torn, events.OriginAPI)
		}
		return fmt.Sprint(ans.code), ans.want(http.StatusAccepted, http.StatusUnprocessableEntity)
	})
	s.rep.check("an unknown key gets 401, another tenant's image 404", func() (string, error) {
		stranger, other := *s.api, *s.api
		stranger.key, other.key = "mr_nobody", s.in.Connection.APIKeys[s.other]
		ans, _, err := stranger.upload(ctx, "image/jpeg", torn.bytes)
		if err != nil {
			return "", err
		}
		if err := ans.want(http.StatusUnauthorized); err != nil {
			return "", err
		}
		ans, _, err = other.status(ctx, s.firstDecoding().idFor(s.tenant))
		if err != nil {
			return "", err
		}
		return "", ans.want(http.StatusNotFound)
	})
	s.orphan(ctx, torn)
	return nil
}

func (s *story) refused(ctx context.Context, name, contentType string, b []byte, code int) {
	s.rep.check(name, func() (string, error) {
		ans, _, err := s.api.upload(ctx, contentType, b)
		if err != nil {
			return "", err
		}
		return "", ans.want(code)
	})
}

// orphan is a record of the feed that names no tenant.
func (s *story) orphan(ctx context.Context, p *photo) {
	s.rep.check("a feed record without a tenant is a dead letter with its bytes intact", func() (string, error) {
		r := &kgo.Record{Topic: events.TopicCompanyImages, Value: p.bytes, Timestamp: s.in.Stamp().Now()}
		if err := s.kafka.ProduceSync(ctx, r).FirstErr(); err != nil {
			return "", err
		}
		letter, err := s.findRecord(ctx, events.DLQ(events.TopicCompanyImages), func(l *kgo.Record) bool { return bytes.Equal(l.Value, p.bytes) })
		if err != nil {
			return "", err
		}
		if offset := header(letter, "__streams.errors.offset"); offset != fmt.Sprint(r.Offset) {
			return "", fmt.Errorf("the letter speaks of offset %q, want %d", offset, r.Offset)
		}
		return header(letter, "__streams.errors.message"), nil
	})
}
