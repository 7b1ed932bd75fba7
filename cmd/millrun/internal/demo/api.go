package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"time"
)

// api calls the upload API as a tenant's or a team's application would.
type api struct {
	url string
	key string
}

// answer is what came back.
type answer struct {
	code int
	body []byte
}

// receipt is the answer to an upload, the problem of a refused one, and a line of a multipart answer.
type receipt struct {
	ImageID   string    `json:"image_id"`
	Duplicate bool      `json:"duplicate"`
	SHA256    string    `json:"sha256"`
	ExpiresAt time.Time `json:"expires_at"`
	Name      string    `json:"name"`
	Status    any       `json:"status"` // accepted, or the HTTP number of a part
}

// status is the answer about one image, or about one that was purged.
type status struct {
	ImageID string `json:"image_id"`
	Status  string `json:"status"`
	History []struct {
		Status string    `json:"status"`
		At     time.Time `json:"at"`
	} `json:"history"`
	Width       int    `json:"width"`
	Height      int    `json:"height"`
	Format      string `json:"format"`
	Bytes       int64  `json:"bytes"`
	SHA256      string `json:"sha256"`
	Derivatives []struct {
		Name string `json:"name"`
		Step string `json:"step"`
	} `json:"derivatives"`
	ExpiresAt time.Time `json:"expires_at"`
	PurgedAt  time.Time `json:"purged_at"`
	Error     any       `json:"error"`
}

func (a *api) do(ctx context.Context, method, path, contentType string, body io.Reader) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, body)
	if err != nil {
		return answer{}, fmt.Errorf("demo: %w", err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("X-Api-Key", a.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("demo: %w", err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return answer{}, fmt.Errorf("demo: %w", err)
	}
	return answer{code: resp.StatusCode, body: b}, nil
}

func (a *api) get(ctx context.Context, path string) (answer, error) {
	return a.do(ctx, http.MethodGet, path, "", nil)
}

// upload sends one picture as it is.
func (a *api) upload(ctx context.Context, contentType string, b []byte) (answer, receipt, error) {
	ans, err := a.do(ctx, http.MethodPost, "/v1/images", contentType, bytes.NewReader(b))
	if err != nil {
		return ans, receipt{}, err
	}
	var r receipt
	return ans, r, json.Unmarshal(ans.body, &r)
}

// uploadForm sends several files in one form.
func (a *api) uploadForm(ctx context.Context, files map[string][]byte) (answer, []receipt, error) {
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for name, b := range files {
		part, err := w.CreateFormFile("file", name)
		if err != nil {
			return answer{}, nil, fmt.Errorf("demo: %w", err)
		}
		if _, err := part.Write(b); err != nil {
			return answer{}, nil, fmt.Errorf("demo: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return answer{}, nil, fmt.Errorf("demo: %w", err)
	}
	ans, err := a.do(ctx, http.MethodPost, "/v1/images", w.FormDataContentType(), &form)
	if err != nil {
		return ans, nil, err
	}
	var body struct {
		Results []receipt `json:"results"`
	}
	return ans, body.Results, json.Unmarshal(ans.body, &body)
}

// status asks about one image.
func (a *api) status(ctx context.Context, id string) (answer, status, error) {
	ans, err := a.get(ctx, "/v1/images/"+id)
	if err != nil {
		return ans, status{}, err
	}
	var s status
	switch ans.code {
	case http.StatusOK:
		err = json.Unmarshal(ans.body, &s)
	case http.StatusGone: // a problem, whose status is a number
		var gone struct {
			PurgedAt time.Time `json:"purged_at"`
		}
		err = json.Unmarshal(ans.body, &gone)
		s.PurgedAt = gone.PurgedAt
	}
	return ans, s, err
}

// change publishes an event to a change topic.
func (a *api) change(ctx context.Context, topic string, event any) (answer, error) {
	b, err := json.Marshal(event)
	if err != nil {
		return answer{}, fmt.Errorf("demo: %w", err)
	}
	return a.do(ctx, http.MethodPost, "/v1/changes/"+topic, "application/json", bytes.NewReader(b))
}

// want turns an unexpected code into an error that shows the answer's beginning.
func (a answer) want(codes ...int) error {
	if slices.Contains(codes, a.code) {
		return nil
	}
	return fmt.Errorf("answered %d, want %v: %.200s", a.code, codes, a.body)
}

// await asks again until it is so, or tells what was still wrong when the time was up.
func await(ctx context.Context, limit time.Duration, look func() error) error {
	return awaitEvery(ctx, limit, 100*time.Millisecond, look)
}

// awaitEvery is await for questions that cost more than a moment.
func awaitEvery(ctx context.Context, limit, every time.Duration, look func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := look()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("still after %s: %w", limit, err)
		case <-tick.C:
		}
	}
}
