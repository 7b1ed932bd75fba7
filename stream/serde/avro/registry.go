package avro

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/sr"
)

// mockScheme is the scheme of registries that live in this process, as in Confluent's clients.
const mockScheme = "mock"

// ErrSchema is the cause when a registry does not know a schema.
var ErrSchema = errors.New("avro: unknown schema")

// Registry is a schema registry: numbers for schemas, for all programs alike. It asks once for each schema and subject
// and remembers the answer for good, since a number never changes its meaning. Safe for concurrent use.
type Registry struct {
	remote *sr.Client // nil: mock
	mock   *mockRegistry

	mu    sync.RWMutex
	ids   map[string]int // subject, zero byte, schema
	texts map[int]string
}

// Open connects to the registry at a URL: "https://host:8081", several separated by commas, or "mock://name", which is one
// registry per name and process and asks nobody. Options are passed to the client; they carry credentials and TLS.
func Open(address string, opts ...sr.ClientOpt) (*Registry, error) {
	r := &Registry{ids: map[string]int{}, texts: map[int]string{}}
	first, _, _ := strings.Cut(address, ",")
	u, err := url.Parse(first)
	if err != nil || u.Scheme == "" {
		return nil, errors.New("avro: a schema registry is given as https://host:port or mock://name")
	}
	if u.Scheme == mockScheme {
		r.mock = mocked(u.Host)
		return r, nil
	}
	r.remote, err = sr.NewClient(append([]sr.ClientOpt{sr.URLs(strings.Split(address, ",")...)}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("avro: schema registry: %w", err)
	}
	return r, nil
}

// id registers a schema under a subject, or finds it there.
func (r *Registry) id(ctx context.Context, subject, schema string) (int, error) {
	key := subject + "\x00" + schema
	r.mu.RLock()
	id, ok := r.ids[key]
	r.mu.RUnlock()
	if ok {
		return id, nil
	}
	if r.mock != nil {
		id = r.mock.register(schema)
	} else {
		made, err := r.remote.RegisterSchema(ctx, subject, sr.Schema{Schema: schema, Type: sr.TypeAvro}, -1, -1)
		if err != nil {
			return 0, fmt.Errorf("avro: register schema for %s: %w", subject, err)
		}
		id = made
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids[key], r.texts[id] = id, schema
	return id, nil
}

// schema finds a schema by its number.
func (r *Registry) schema(ctx context.Context, id int) (string, error) {
	r.mu.RLock()
	text, ok := r.texts[id]
	r.mu.RUnlock()
	if ok {
		return text, nil
	}
	if r.mock != nil {
		if text, ok = r.mock.find(id); !ok {
			return "", fmt.Errorf("%w: number %d", ErrSchema, id)
		}
	} else {
		found, err := r.remote.SchemaByID(ctx, id)
		if err != nil {
			return "", fmt.Errorf("avro: schema number %d: %w", id, err)
		}
		text = found.Schema
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts[id] = text
	return text, nil
}

// mockRegistry is a registry in memory. Safe for concurrent use.
type mockRegistry struct {
	mu    sync.Mutex
	texts []string // number n at n-1
}

// mocks holds the registries of this process by name. It is global because a mock:// address, like a real one, must
// lead two parts of a program that know nothing of each other to the same registry.
var mocks struct {
	mu sync.Mutex
	m  map[string]*mockRegistry
}

func mocked(name string) *mockRegistry {
	mocks.mu.Lock()
	defer mocks.mu.Unlock()
	if mocks.m == nil {
		mocks.m = map[string]*mockRegistry{}
	}
	r, ok := mocks.m[name]
	if !ok {
		r = &mockRegistry{}
		mocks.m[name] = r
	}
	return r
}

func (m *mockRegistry) register(schema string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, text := range m.texts {
		if text == schema {
			return i + 1
		}
	}
	m.texts = append(m.texts, schema)
	return len(m.texts)
}

func (m *mockRegistry) find(id int) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id < 1 || id > len(m.texts) {
		return "", false
	}
	return m.texts[id-1], true
}
