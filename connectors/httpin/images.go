package httpin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/millrun/millrun/internal/events"
)

// pageSize is how many images a page shows.
const pageSize = 100

// imageName is what an image_id looks like; what does not look like one is nobody's.
var imageName = regexp.MustCompile(`^img_[a-z2-7]{26}$`)

// imageView is an image as its tenant sees it.
type imageView struct {
	ImageID     string                  `json:"image_id"`
	Status      events.Status           `json:"status"`
	History     []events.Moment         `json:"history"`
	Width       int32                   `json:"width,omitempty"`
	Height      int32                   `json:"height,omitempty"`
	Format      string                  `json:"format,omitempty"`
	ContentType string                  `json:"content_type"`
	Bytes       int64                   `json:"bytes"`
	SHA256      string                  `json:"sha256"`
	Derivatives []events.DerivativeView `json:"derivatives"`
	ReceivedAt  time.Time               `json:"received_at"`
	ExpiresAt   time.Time               `json:"expires_at"`
	ErrorCode   string                  `json:"error_code,omitempty"`
	Error       string                  `json:"error,omitempty"`
}

func viewOf(i events.Image) imageView {
	v := imageView{
		ImageID: i.ImageID, Status: i.Status, History: i.History, Width: i.Width, Height: i.Height, Format: i.Format, ContentType: i.ContentType,
		Bytes: i.Bytes, SHA256: i.SHA256, Derivatives: i.Derivatives, ReceivedAt: i.ReceivedAt, ExpiresAt: i.ExpiresAt,
		ErrorCode: i.ErrorCode, Error: i.Error,
	}
	if v.Derivatives == nil {
		v.Derivatives = []events.DerivativeView{}
	}
	if v.Error == "" {
		v.Error = v.ErrorCode
	}
	return v
}

// status tells how an image stands.
func (s *Server) status(c *call) error {
	image, err := s.find(c)
	if err != nil {
		return err
	}
	return c.sendJSON(200, viewOf(image))
}

// find is the caller's image of that name. What is absent from the view is absent only once the view has been brought
// to the present; until then it is not known.
func (s *Server) find(c *call) (events.Image, error) {
	id := c.r.PathValue("id")
	if !imageName.MatchString(id) {
		return events.Image{}, noSuchImage()
	}
	tenant := c.who.tenant
	f := s.view.look(tenant, id)
	if f.item == nil && !f.expired {
		ctx, cancel := context.WithTimeout(c.r.Context(), s.cfg.Limits.CatchUp)
		defer cancel()
		if err := s.view.catchUp(ctx); err != nil {
			return events.Image{}, kindUnavailable.because("Whether there is such an image is not known now.").after(time.Second).causedBy(err)
		}
		f = s.view.look(tenant, id)
	}
	if f.item != nil {
		return events.UnmarshalImage(f.item.value)
	}
	if s.cfg.Purged != nil {
		if at, purged := s.cfg.Purged.PurgedAt(tenant, id); purged {
			return events.Image{}, expired().with("purged_at", at.UTC())
		}
	}
	if f.expired {
		return events.Image{}, expired()
	}
	return events.Image{}, noSuchImage()
}

func noSuchImage() *problem { return kindNotFound.because("You have no image of this name.") }

func expired() *problem { return kindGone.because("The image has expired.") }

// pageView is a page of a tenant's images, the latest first.
type pageView struct {
	Images     []imageView `json:"images"`
	NextCursor string      `json:"next_cursor,omitempty"`
}

// list shows a page.
func (s *Server) list(c *call) error {
	f, p := parseFilter(c.r.URL.Query())
	if p != nil {
		return p
	}
	if err := s.view.ready(); err != nil {
		return kindUnavailable.because("The images are still being counted.").after(time.Second).causedBy(err)
	}
	items, more := s.view.page(c.who.tenant, f)
	page := pageView{Images: make([]imageView, 0, len(items))}
	for _, it := range items {
		image, err := events.UnmarshalImage(it.value)
		if err != nil {
			return fmt.Errorf("httpin: list: %w", err)
		}
		page.Images = append(page.Images, viewOf(image))
	}
	if more {
		var err error
		if page.NextCursor, err = writeCursor(items[len(items)-1]); err != nil {
			return err
		}
	}
	return c.sendJSON(200, page)
}

// statuses are what ?status= may ask for.
var statuses = []events.Status{events.StatusAccepted, events.StatusProcessing, events.StatusArchived, events.StatusRejected, events.StatusFailed}

// parseFilter reads the query; what is not known is refused, so that a misspelt filter does not show everything.
func parseFilter(q url.Values) (filter, *problem) {
	f := filter{most: pageSize}
	for name, values := range q {
		if len(values) > 1 {
			return f, kindMalformed.because("%s is given twice.", name)
		}
		var err error
		switch value := values[0]; name {
		case "status":
			if f.status = events.Status(value); !slices.Contains(statuses, f.status) {
				err = errors.New("want accepted, processing, archived, rejected or failed")
			}
		case "from":
			f.from, err = time.Parse(time.RFC3339, value)
		case "to":
			f.to, err = time.Parse(time.RFC3339, value)
		case "cursor":
			f.after, err = readCursor(value)
		default:
			return f, kindMalformed.because("There is no such filter; there are status, from, to and cursor.")
		}
		if err != nil {
			return f, kindMalformed.because("%s: %s.", name, filterHint[name])
		}
	}
	return f, nil
}

var filterHint = map[string]string{
	"status": "want accepted, processing, archived, rejected or failed",
	"from":   "want a time as in RFC 3339",
	"to":     "want a time as in RFC 3339",
	"cursor": "want next_cursor of the page before, as it was",
}

// cursor is where a page ended. It is no secret and no authority: it only positions within the caller's own images.
type cursor struct {
	Received time.Time `json:"r"`
	ID       string    `json:"i"`
}

func writeCursor(last *item) (string, error) {
	b, err := json.Marshal(cursor{last.received, last.id})
	if err != nil {
		return "", fmt.Errorf("httpin: cursor: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

func readCursor(s string) (*item, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("httpin: cursor: %w", err)
	}
	var c cursor
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("httpin: cursor: %w", err)
	}
	return &item{id: c.ID, received: c.Received}, nil
}
