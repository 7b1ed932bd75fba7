package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/connectors/postgres"
	"github.com/millrun/millrun/connectors/postgres/access"
	"github.com/millrun/millrun/connectors/postgres/changes"
	"github.com/millrun/millrun/internal/pgd"
)

func startServer(t *testing.T, dir string, port int) *pgd.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := pgd.Start(ctx, pgd.Config{Dir: dir, Port: port, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNothingIsLostWhenPostgreSQLGoesAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	on := startServer(t, dir, 0)
	s := &shop{t: t, on: on, name: "shop"}
	s.must(makeShop(t.Context(), on, "shop"))
	k := newKafka(t, 2)
	reg := prometheus.NewRegistry()
	cfg := postgres.Config{Topic: changes.MembersChanges, Kafka: []kgo.Opt{kgo.SeedBrokers(k.brokers...)}, DSN: s.dsn(changes.MembersChanges),
		BatchRecords: 5, Metrics: reg, Log: quiet}
	a, err := postgres.NewApplier(cfg)
	s.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	sent := 0
	send := func(n int) {
		for range n {
			k.send(changes.MembersChanges, join(fmt.Sprintf("m%d", sent)))
			sent++
		}
	}
	send(100)
	eventually(t, "100", func() string { return s.text(members) })
	for _, end := range []func(){
		func() { s.must(s.on.Close()) }, // a clean restart
		func() { s.must(syscall.Kill(s.on.PID(), syscall.SIGQUIT)); <-s.on.Done(); _ = s.on.Close() }, // a crash
	} {
		port := s.on.Port()
		end()
		send(50) // while it is away
		eventually(t, "true", func() string { return fmt.Sprint(a.Ready() != nil) })
		s.on = startServer(t, dir, port)
		eventually(t, fmt.Sprint(sent), func() string { return s.text(members) })
		eventually(t, "true", func() string { return fmt.Sprint(a.Ready() == nil) })
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.must(s.on.Close())
	k.nothingDead(changes.MembersChanges)
	if n := testutil.CollectAndCount(reg, "millrun_orders_retries_total"); n == 0 {
		t.Error("no retry was counted")
	}
}

// runOnce runs an applier until it ends by itself.
func runOnce(t *testing.T, k *kafka, s *shop, topic string, change ...func(*postgres.Config)) error {
	t.Helper()
	cfg := postgres.Config{Topic: topic, Kafka: []kgo.Opt{kgo.SeedBrokers(k.brokers...)}, DSN: s.dsn(topic), Policy: policy, Log: quiet}
	for _, f := range change {
		f(&cfg)
	}
	a, err := postgres.NewApplier(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return a.Run(ctx)
}

func TestLoginWithMoreRightsThanDeclaredIsRefused(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	s.exec("GRANT DELETE ON shop.transactions TO team_logistics; GRANT SELECT (email) ON shop.members TO logistics_app")
	err := runOnce(t, k, s, changes.OrdersCompleted)
	var excess *access.ExcessError
	if !errors.As(err, &excess) {
		t.Fatalf("Run: %v", err)
	}
	if got := excess.Login + ": " + strings.Join(excess.Rights, "; "); got != "logistics_app: DELETE on shop.transactions; SELECT (email) on shop.members" {
		t.Error(got)
	}
}

func TestLoginWithFewerRightsThanDeclaredIsRefused(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	s.exec("REVOKE UPDATE (status) ON shop.transactions FROM team_logistics")
	err := runOnce(t, k, s, changes.OrdersCompleted)
	var missing *access.MissingError
	if !errors.As(err, &missing) || strings.Join(missing.Rights, "; ") != "UPDATE (status) on shop.transactions" {
		t.Fatalf("Run: %v", err)
	}
}

func TestRefusedPasswordEndsRunWithoutShowingIt(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	err := runOnce(t, k, s, changes.ItemsChanges, func(c *postgres.Config) {
		c.DSN = server.URL("sales_app", "not-the-password", s.name)
	})
	if err == nil || !strings.Contains(err.Error(), "28P01") || strings.Contains(err.Error(), "not-the-password") {
		t.Fatalf("Run: %v", err)
	}
}

func TestPasswordIsAskedForEachConnection(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	start(t, k, s, changes.MembersChanges, func(c *postgres.Config) {
		c.DSN = server.URL("member_app", "", s.name)
		c.Password = func(context.Context) (string, error) { return passwords()["member_app"], nil }
	})
	k.send(changes.MembersChanges, join("a"))
	eventually(t, "1", func() string { return s.text(members) })
}

func TestRightTakenAwayUnderARunningApplierBlamesNoRecord(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, want string }{
		"to apply":    {"REVOKE ALL ON shop.members FROM svc_membership", "lacks what deploy/access.yaml declares"},
		"to remember": {"REVOKE INSERT ON pipeline.applied_events FROM change_applier", "permission denied for table applied_events"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, k := newShop(t), newKafka(t, 1)
			k.send(changes.MembersChanges, join("a"))
			done := make(chan error, 1)
			go func() { done <- runOnce(t, k, s, changes.MembersChanges) }()
			eventually(t, "1", func() string { return s.text(members) })
			s.exec(c.sql)
			k.send(changes.MembersChanges, join("b"))
			if err := <-done; err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Run: %v", err)
			}
			k.nothingDead(changes.MembersChanges)
			if got := s.text("SELECT last_offset FROM pipeline.applied_offsets"); got != "0" {
				t.Errorf("the watermark is %s", got)
			}
		})
	}
}

func TestLogThatEndsBeforeTheWatermarkEndsRun(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	k.send(changes.MembersChanges, join("a"))
	stop := start(t, k, s, changes.MembersChanges)
	eventually(t, "1", func() string { return s.text(members) })
	s.must(stop())
	s.exec("UPDATE pipeline.applied_offsets SET last_offset = 7") // as if the log had lost offsets 1 to 7
	err := runOnce(t, k, s, changes.MembersChanges)
	if err == nil || !strings.Contains(err.Error(), "ends at offset 1, but everything up to 7 is settled") {
		t.Fatalf("Run: %v", err)
	}
}

func TestRecordsThatExpiredUnappliedAreCounted(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	k.send(changes.MembersChanges, join("a"))
	stop := start(t, k, s, changes.MembersChanges)
	eventually(t, "1", func() string { return s.text(members) })
	s.must(stop())
	k.send(changes.MembersChanges, join("b"), join("c"), join("d"))
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: changes.MembersChanges, At: 3})
	_, err := kadm.NewClient(k.client).DeleteRecords(t.Context(), offsets)
	s.must(err)
	reg := prometheus.NewRegistry()
	start(t, k, s, changes.MembersChanges, func(c *postgres.Config) { c.Metrics = reg })
	eventually(t, "d_00000", func() string {
		return s.text("SELECT membership_id FROM shop.members WHERE membership_id <> 'a_00000'")
	})
	want := "# HELP millrun_orders_lost_records_total Records that expired in Kafka before they were applied.\n" +
		"# TYPE millrun_orders_lost_records_total counter\nmillrun_orders_lost_records_total{topic=\"members.changes\"} 2\n"
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "millrun_orders_lost_records_total"); err != nil {
		t.Error(err)
	}
}

func TestImpossibleConfigurationIsRefusedAllAtOnce(t *testing.T) {
	t.Parallel()
	_, err := postgres.NewApplier(postgres.Config{Topic: "orders", DSN: "postgres://x:secret@h/db?sslmode=sometimes", BatchRecords: -1})
	for _, want := range []string{`Topic "orders"`, "Kafka: seed brokers", "must not be negative", "DSN"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows the password: %v", err)
	}
	_, err = postgres.NewApplier(postgres.Config{Topic: changes.OrdersPlaced, DSN: "postgres://sales_app@h/db", Kafka: []kgo.Opt{kgo.SeedBrokers("h:1")}})
	if err == nil || !strings.Contains(err.Error(), "applied as checkout_app, not as \"sales_app\"") {
		t.Errorf("another team's login: %v", err)
	}
}

func TestAppliersShareTheirMetrics(t *testing.T) {
	t.Parallel()
	s, k := newShop(t), newKafka(t, 1)
	reg := prometheus.NewRegistry()
	with := func(c *postgres.Config) { c.Metrics = reg }
	start(t, k, s, changes.MembersChanges, with)
	start(t, k, s, changes.ItemsChanges, with)
	k.send(changes.MembersChanges, join("a"))
	k.raw(changes.ItemsChanges, "", []byte("{}"))
	k.dead(changes.ItemsChanges, 1)
	eventually(t, "1", func() string { return s.text(members) })
	eventually(t, "2", func() string {
		return fmt.Sprint(testutil.CollectAndCount(reg, "millrun_orders_applied_total") + testutil.CollectAndCount(reg, "millrun_dlq_records_total") - 1)
	})
}
