package events

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
)

// ErrRegistry marks a failure of the schema registry: the record may be fine, and the same again may succeed.
var ErrRegistry = errors.New("events: schema registry")

// registryTimeout bounds a question to the registry; each schema is asked for once per process.
const registryTimeout = 15 * time.Second

// registry is what a Codec asks of a schema registry. Safe for concurrent use.
type registry interface {
	register(subject, schema string) (int, error)
	schema(id int) (string, error)
}

// openRegistry returns nil for "".
func openRegistry(spec string) (registry, error) {
	switch {
	case spec == "":
		return nil, nil
	case strings.HasPrefix(spec, "mock://"):
		return mockNamed(strings.TrimPrefix(spec, "mock://")), nil
	}
	urls := strings.Split(spec, ",")
	for _, u := range urls {
		if p, err := url.Parse(u); err != nil || p.Host == "" || (p.Scheme != "http" && p.Scheme != "https") {
			return nil, errors.New("events: kafka.schema_registry is no http, https or mock URL")
		}
	}
	c, err := sr.NewClient(sr.URLs(urls...))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRegistry, err)
	}
	return remote{c}, nil
}

// remote is a registry elsewhere.
type remote struct{ c *sr.Client }

func (r remote) register(subject, schema string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), registryTimeout)
	defer cancel()
	s, err := r.c.CreateSchema(ctx, subject, sr.Schema{Schema: schema, Type: sr.TypeAvro})
	if err != nil {
		return 0, fmt.Errorf("%w: register %s: %w", ErrRegistry, subject, err)
	}
	return s.ID, nil
}

func (r remote) schema(id int) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), registryTimeout)
	defer cancel()
	s, err := r.c.SchemaByID(ctx, id)
	var no *sr.ResponseError
	switch {
	case errors.As(err, &no) && no.StatusCode == 404:
		return "", fmt.Errorf("schema id %d is unknown to the registry", id)
	case err != nil:
		return "", fmt.Errorf("%w: schema %d: %w", ErrRegistry, id, err)
	}
	return s.Schema, nil
}

// mocks are the in-process registries by name; one lives as long as its process, so that everything in it agrees.
var mocks = struct {
	sync.Mutex
	byName map[string]*mock
}{byName: map[string]*mock{}}

func mockNamed(name string) *mock {
	mocks.Lock()
	defer mocks.Unlock()
	m, ok := mocks.byName[name]
	if !ok {
		m = &mock{}
		mocks.byName[name] = m
	}
	return m
}

// mock is a registry inside this process. A schema's id is its place in the list, from 1.
type mock struct {
	mu      sync.Mutex
	schemas []string
}

func (m *mock) register(_, schema string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(m.schemas, schema); i >= 0 {
		return i + 1, nil
	}
	m.schemas = append(m.schemas, schema)
	return len(m.schemas), nil
}

func (m *mock) schema(id int) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id < 1 || id > len(m.schemas) {
		return "", fmt.Errorf("schema id %d is unknown to the registry", id)
	}
	return m.schemas[id-1], nil
}
