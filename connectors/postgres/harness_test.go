package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrun/millrun/connectors/postgres"
	"github.com/millrun/millrun/connectors/postgres/access"
	"github.com/millrun/millrun/connectors/postgres/changes"
	"github.com/millrun/millrun/internal/pgd"
)

// The tests of this package share one PostgreSQL and its roles; each has a database of its own.
var (
	server *pgd.Server
	policy *access.Policy
	quiet  = slog.New(slog.DiscardHandler)
)

// childEnv makes the test binary play an applier's process; see crash_test.go.
const childEnv = "MILLRUN_TEST_APPLIER"

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		playApplier(spec)
		return
	}
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "millrun-shop-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if server, err = pgd.Start(ctx, pgd.Config{Dir: dir, Log: quiet}); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if policy, err = access.Load(""); err != nil {
		return 1, err
	}
	if err := makeShop(ctx, server, "shop_template"); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// makeShop makes an empty database and applies the policy to it.
func makeShop(ctx context.Context, on *pgd.Server, name string) error {
	if err := adminExec(ctx, on.AdminURL(), "CREATE DATABASE "+name); err != nil {
		return err
	}
	_, err := access.Apply(ctx, policy, access.Options{AdminURL: adminURL(on, name), Passwords: passwords(), Log: quiet})
	return err
}

func passwords() map[string]string {
	out := map[string]string{}
	for _, l := range policy.Logins() {
		out[l] = "password-of-" + l
	}
	return out
}

func adminURL(on *pgd.Server, database string) string {
	return strings.Replace(on.AdminURL(), "/postgres?", "/"+database+"?", 1)
}

func adminExec(ctx context.Context, dsn, sql string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// shop is a database of its own.
type shop struct {
	t    *testing.T
	on   *pgd.Server
	name string
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{t: t, on: server, name: "shop_" + strings.ReplaceAll(uuid.NewString()[:13], "-", "_")}
	s.must(adminExec(t.Context(), server.AdminURL(), "CREATE DATABASE "+s.name+" TEMPLATE shop_template"))
	t.Cleanup(func() {
		s.must(adminExec(context.Background(), server.AdminURL(), "DROP DATABASE "+s.name+" WITH (FORCE)"))
	})
	_, err := access.Apply(t.Context(), policy, access.Options{AdminURL: adminURL(s.on, s.name), Log: quiet}) // the database's own rights are not copied
	s.must(err)
	return s
}

func (s *shop) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) exec(sql string, args ...any) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), adminURL(s.on, s.name))
	s.must(err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(s.t.Context(), sql, args...)
	s.must(err)
}

// text is the first column of the rows, joined by commas.
func (s *shop) text(sql string, args ...any) string {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), adminURL(s.on, s.name))
	s.must(err)
	defer conn.Close(context.Background())
	rows, err := conn.Query(s.t.Context(), "SELECT x::text FROM ("+sql+") AS q(x)", args...)
	s.must(err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	s.must(err)
	return strings.Join(lines, ",")
}

// dsn is the database under the login that applies topic.
func (s *shop) dsn(topic string) string {
	login, _ := changes.Login(topic)
	return s.on.URL(login, passwords()[login], s.name)
}

// seed makes a member and an item that cost 12.50 and weighs 0.35 kg, and returns the item.
func (s *shop) seed() uuid.UUID {
	s.t.Helper()
	item := uuid.New()
	s.exec(`INSERT INTO shop.members (membership_id, first_name, last_name, email, mobile_no, date_of_birth)
		VALUES ('Tan_1a2b3', 'Mei', 'Tan', 'mei@emailprovider.com', '91234567', '1990-05-17')`)
	s.exec(`INSERT INTO shop.manufacturers (manufacturer_name) VALUES ('Acme')`)
	s.exec(`INSERT INTO shop.items (item_id, item_name, manufacturer_id, cost, weight_kg)
		SELECT $1, 'anvil', manufacturer_id, 12.50, 0.350 FROM shop.manufacturers`, item)
	return item
}

// order makes an order in the given status, placed an hour before `at`.
func (s *shop) order(status string) uuid.UUID {
	s.t.Helper()
	id := uuid.New()
	s.exec(`INSERT INTO shop.transactions (transaction_id, member_key, status, placed_at, completed_at)
		SELECT $1, member_key, $2::text::shop.txn_status, $3, CASE WHEN $2 = 'completed' THEN $3::timestamptz END FROM shop.members LIMIT 1`,
		id, status, at.Add(-time.Hour))
	return id
}

func (s *shop) status(order uuid.UUID) string {
	s.t.Helper()
	return s.text("SELECT status FROM shop.transactions WHERE transaction_id = $1", order)
}

// at is when the tests' events happen.
var at = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func head() changes.Head { return changes.Head{EventID: uuid.New(), Occurred: at} }

// kafka is an in-process cluster with the four topics and their dead letters.
type kafka struct {
	t       *testing.T
	cluster *kfake.Cluster
	brokers []string
	client  *kgo.Client
}

func newKafka(t *testing.T, partitions int32) *kafka {
	t.Helper()
	var topics []string
	for _, topic := range changes.Topics() {
		topics = append(topics, topic, topic+postgres.DeadLetterSuffix)
	}
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return connectKafka(t, c.ListenAddrs(), c)
}

func connectKafka(t *testing.T, brokers []string, c *kfake.Cluster) *kafka {
	t.Helper()
	k := &kafka{t: t, cluster: c, brokers: brokers}
	var err error
	if k.client, err = kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.client.Close)
	return k
}

// send publishes events in order.
func (k *kafka) send(topic string, events ...changes.Event) {
	k.t.Helper()
	for _, e := range events {
		b, err := json.Marshal(e)
		if err != nil {
			k.t.Fatal(err)
		}
		k.raw(topic, e.Key(), b)
	}
}

// raw publishes any bytes.
func (k *kafka) raw(topic, key string, value []byte, headers ...kgo.RecordHeader) {
	k.t.Helper()
	rec := &kgo.Record{Topic: topic, Key: []byte(key), Value: value, Headers: headers}
	if err := k.client.ProduceSync(k.t.Context(), rec).FirstErr(); err != nil {
		k.t.Fatal(err)
	}
}

// dead waits for n dead letters of topic.
func (k *kafka) dead(topic string, n int) []*kgo.Record {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), time.Minute)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(k.brokers...), kgo.ConsumeTopics(topic+postgres.DeadLetterSuffix))
	if err != nil {
		k.t.Fatal(err)
	}
	defer c.Close()
	var out []*kgo.Record
	for len(out) < n {
		fs := c.PollFetches(ctx)
		if ctx.Err() != nil {
			k.t.Fatalf("%d dead letters of %s, want %d", len(out), topic, n)
		}
		out = append(out, fs.Records()...)
	}
	return out
}

// header is the last header of that name.
func header(r *kgo.Record, key string) string {
	value := "(absent)"
	for _, h := range r.Headers {
		if h.Key == key {
			value = string(h.Value)
		}
	}
	return value
}

// start runs an applier until the test ends; the returned function stops it earlier and gives Run's error.
func start(t *testing.T, k *kafka, s *shop, topic string, change ...func(*postgres.Config)) (stop func() error) {
	t.Helper()
	cfg := postgres.Config{Topic: topic, Kafka: []kgo.Opt{kgo.SeedBrokers(k.brokers...)}, DSN: s.dsn(topic), Policy: policy, Log: quiet}
	for _, f := range change {
		f(&cfg)
	}
	a, err := postgres.NewApplier(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var result error
	stopped := false
	stop = func() error {
		if !stopped {
			stopped = true
			cancel()
			result = <-done
		}
		return result
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return stop
}

// eventually waits until got gives want.
func eventually(t *testing.T, want string, got func() string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(3 * time.Minute)
	for {
		if got() == want {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("got %s, want %s", got(), want)
		}
	}
}

// nothingDead asserts that no dead letter of topic was written.
func (k *kafka) nothingDead(topic string) {
	k.t.Helper()
	ends, err := kadm.NewClient(k.client).ListEndOffsets(k.t.Context(), topic+postgres.DeadLetterSuffix)
	if err != nil {
		k.t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset != 0 {
			k.t.Errorf("%d dead letters in %s/%d", o.Offset, o.Topic, o.Partition)
		}
	})
}
