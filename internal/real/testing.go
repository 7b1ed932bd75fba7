package real

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrun/millrun/internal/pgd"
)

// MissingEnv names the environment variable with the file to which each skip appends its reason.
const MissingEnv = "MILLRUN_MISSING"

// ownStop is how long a server of a test's own may take to stop.
const ownStop = 20 * time.Second

// Kafka is the bootstrap addresses of an Apache Kafka broker that all tests share. Topics are not made automatically,
// and names are shared: use Name. Without Java or Maven the test is skipped; with CI=true it fails.
func Kafka(tb testing.TB) []string {
	tb.Helper()
	return use(tb, PartKafka).Brokers
}

// KafkaLogDir is the folder of the shared broker's log segments, for tests that look for bytes on disk. It is to be
// asked after Kafka.
func KafkaLogDir(tb testing.TB) string {
	tb.Helper()
	return use(tb, PartKafka).LogDir
}

// Azurite is the connection string of an Azurite that all tests share. Containers are shared: use Name. Without Node or
// npm the test is skipped; with CI=true it fails.
func Azurite(tb testing.TB) string {
	tb.Helper()
	return use(tb, PartAzurite).ConnectionString
}

// Postgres is the superuser's URL of a new, empty database on a PostgreSQL that all tests share; it is dropped when the
// test ends. Roles belong to the server, not to the database: a test that makes roles wants PostgresServer.
func Postgres(tb testing.TB) string {
	tb.Helper()
	admin := use(tb, PartPostgres).URL
	name := strings.ReplaceAll(Name(tb, "test"), "-", "_")
	execSQL(tb.Context(), tb, admin, "create database "+name)
	tb.Cleanup(func() {
		execSQL(context.WithoutCancel(tb.Context()), tb, admin, "drop database if exists "+name+" with (force)")
	})
	u, err := url.Parse(admin)
	if err != nil {
		tb.Fatalf("real: %v", err)
	}
	u.Path = "/" + name
	return u.String()
}

// PostgresServer is the superuser's URL of a server that belongs to the test alone and stops with it.
func PostgresServer(tb testing.TB) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	s, err := pgd.Start(ctx, pgd.Config{Dir: tb.TempDir(), Ephemeral: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatalf("real: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("real: %v", err)
		}
	})
	return s.AdminURL()
}

// KafkaServer is the bootstrap addresses of a broker that belongs to the test alone and stops with it: for tests of
// programs that use the topics' real names. Without Java or Maven the test is skipped; with CI=true it fails.
func KafkaServer(tb testing.TB) []string {
	tb.Helper()
	return []string{KafkaBroker(tb, BrokerOptions{Dir: tb.TempDir()}).Addr()}
}

// KafkaBroker is a broker of the test's own, running, with settings of its own; it stops with the test. Without Java or Maven the
// test is skipped; with CI=true it fails.
func KafkaBroker(tb testing.TB, o BrokerOptions) *Broker {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	if lacks := PartKafka.Missing(ctx); lacks != "" {
		skip(tb, PartKafka, lacks)
	}
	b, err := NewBroker(ctx, o)
	if err == nil {
		err = b.Start(ctx)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), ownStop)
		defer cancel()
		if err := b.Stop(ctx); err != nil {
			tb.Errorf("real: %v", err)
		}
	})
	return b
}

// Name is prefix, a hyphen and 10 random characters: fit for a topic, a group or a container that nobody else has.
func Name(tb testing.TB, prefix string) string {
	tb.Helper()
	return prefix + "-" + strings.ToLower(rand.Text()[:10])
}

// use is the shared part, or the end of the test.
func use(tb testing.TB, p Part) Endpoint {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	if lacks := p.Missing(ctx); lacks != "" {
		skip(tb, p, lacks)
	}
	e, err := shared(ctx, p)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// skip ends the test for want of a part: by a skip that is written down, or by a failure where nothing may be missing.
func skip(tb testing.TB, p Part, lacks string) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatalf("real: %s is missing (%s), and CI=true allows no skip", p.Title(), lacks)
	}
	if err := note(os.Getenv(MissingEnv), p, lacks); err != nil {
		tb.Fatal(err)
	}
	tb.Skipf("real: %s is missing: %s", p.Title(), lacks)
}

// note appends one line to the file, if there is one. Lines of several processes do not mix: each is one write.
func note(file string, p Part, lacks string) error {
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("real: %w", err)
	}
	_, err = fmt.Fprintf(f, "%s (%s)\n", p.Title(), lacks)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("real: %w", err)
	}
	return nil
}

func execSQL(ctx context.Context, tb testing.TB, admin, sql string) {
	tb.Helper()
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		tb.Fatalf("real: %v", err)
	}
	_, err = conn.Exec(ctx, sql)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		tb.Fatalf("real: %s: %v", sql, err)
	}
}
