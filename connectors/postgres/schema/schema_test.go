package schema_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/millrun/millrun/connectors/postgres/schema"
	"github.com/millrun/millrun/internal/pgd"
)

var (
	server *pgd.Server
	serial atomic.Int64
	quiet  = slog.New(slog.DiscardHandler)
)

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "millrun-schema-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if server, err = pgd.Start(ctx, pgd.Config{Dir: dir, Ephemeral: true, Log: quiet}); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	conn, err := pgx.Connect(ctx, server.AdminURL())
	if err != nil {
		return 1, err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE ROLE "+schema.Owner); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// database is an empty database whose objects the owner may make.
type database struct {
	t    *testing.T
	url  string
	conn *pgx.Conn
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	name := fmt.Sprintf("shop_%d", serial.Add(1))
	admin, err := pgx.Connect(t.Context(), server.AdminURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close(context.Background()) })
	for _, sql := range []string{"CREATE DATABASE " + name, "GRANT CREATE ON DATABASE " + name + " TO " + schema.Owner} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	d := &database{t: t, url: strings.Replace(server.AdminURL(), "/postgres?", "/"+name+"?", 1)}
	if d.conn, err = pgx.Connect(t.Context(), d.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.conn.Close(context.Background()) })
	return d
}

// newShop is a migrated database with a member, three items and an order of two lines in each status; ids end in their
// number.
func newShop(t *testing.T) *database {
	t.Helper()
	d := newDatabase(t)
	if _, err := schema.Migrate(t.Context(), d.url, schema.Options{Log: quiet}); err != nil {
		t.Fatal(err)
	}
	d.ok(`INSERT INTO shop.members (membership_id, first_name, last_name, email, mobile_no, date_of_birth)
		VALUES ('Tan_1a2b3', 'Mei', 'Tan', 'mei@emailprovider.com', '91234567', '1990-05-17');
		INSERT INTO shop.manufacturers (manufacturer_name) VALUES ('Acme');
		INSERT INTO shop.items (item_id, item_name, manufacturer_id, cost, weight_kg)
		SELECT ('00000000-0000-4000-8000-00000000000' || n)::uuid, 'item ' || n, 1, n * 1.10, n * 0.001 FROM generate_series(1, 3) n;
		INSERT INTO shop.transactions (transaction_id, member_key, status, placed_at, completed_at)
		SELECT ('10000000-0000-4000-8000-00000000000' || n)::uuid, 1, s::shop.txn_status, '2026-01-01Z',
		  CASE WHEN s IN ('completed', 'refunded') THEN timestamptz '2026-01-02Z' END
		FROM unnest(ARRAY['pending', 'paid', 'shipped', 'completed', 'cancelled', 'refunded']) WITH ORDINALITY o(s, n)`)
	return d
}

// ok runs statements that must succeed.
func (d *database) ok(sql string) {
	d.t.Helper()
	if got := d.state(sql); got != "ok" {
		d.t.Fatalf("%s: %s", sql, got)
	}
}

// state runs statements and returns ok or the SQLSTATE.
func (d *database) state(sql string) string {
	d.t.Helper()
	_, err := d.conn.PgConn().Exec(d.t.Context(), sql).ReadAll()
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &pg):
		return pg.Code
	default:
		d.t.Fatal(err)
		return ""
	}
}

func (d *database) text(sql string) string {
	d.t.Helper()
	var s string
	if err := d.conn.QueryRow(d.t.Context(), "SELECT coalesce(string_agg(x::text, ' '), '') FROM ("+sql+") AS q(x)").Scan(&s); err != nil {
		d.t.Fatal(err)
	}
	return s
}

func TestMigrationsBringAnEmptyDatabaseUpOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	pending, err := schema.Pending(t.Context(), d.url)
	if err != nil {
		t.Fatal(err)
	}
	all := "00001_shop.sql 00002_teams.sql 00003_pipeline.sql"
	if strings.Join(pending, " ") != all {
		t.Errorf("pending %v", pending)
	}
	results := make(chan []string, 3)
	for range 3 { // at once: they take turns
		go func() {
			applied, err := schema.Migrate(context.Background(), d.url, schema.Options{Log: quiet})
			if err != nil {
				applied = []string{err.Error()}
			}
			results <- applied
		}()
	}
	var got []string
	for range 3 {
		got = append(got, <-results...)
	}
	if strings.Join(got, " ") != all {
		t.Errorf("applied %v", got)
	}
	if pending, err := schema.Pending(t.Context(), d.url); err != nil || len(pending) != 0 {
		t.Errorf("still pending %v, %v", pending, err)
	}
	if got := d.text(`SELECT DISTINCT relowner::regrole FROM pg_class WHERE relnamespace IN
		('shop'::regnamespace, 'logistics'::regnamespace, 'analytics'::regnamespace, 'sales'::regnamespace, 'pipeline'::regnamespace)`); got != schema.Owner {
		t.Errorf("owned by %s", got)
	}
	if got := d.text(`SELECT count(*) FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) x
		WHERE pronamespace IN ('shop'::regnamespace, 'sales'::regnamespace) AND x.grantee = 0`); got != "0" {
		t.Errorf("PUBLIC may execute %s functions", got)
	}
}

func TestCurrencyChangesOnlyInAShopWithoutPrices(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	migrate := func(currency string) error {
		_, err := schema.Migrate(context.Background(), d.url, schema.Options{Currency: currency, Log: quiet})
		return err
	}
	for _, currency := range []string{"", "EUR", "", "EUR"} {
		if err := migrate(currency); err != nil {
			t.Fatal(err)
		}
	}
	d.ok(`INSERT INTO shop.manufacturers (manufacturer_name) VALUES ('Acme');
		INSERT INTO shop.items (item_name, manufacturer_id, cost, weight_kg) VALUES ('anvil', 1, 1, 1)`)
	if err := migrate("SGD"); err == nil || !strings.Contains(err.Error(), "set shop.currency back to EUR") {
		t.Errorf("%v", err)
	}
	if got := d.text("SELECT currency FROM shop.parameters"); got != "EUR" {
		t.Errorf("the currency is %s", got)
	}
	if err := migrate("euro"); err == nil || !strings.Contains(err.Error(), "three capital letters") {
		t.Errorf("%v", err)
	}
}

func TestOnlyLegalTransitionsHappenAndEachLeavesHistory(t *testing.T) {
	t.Parallel()
	legal := "pending>paid pending>cancelled paid>shipped paid>completed paid>cancelled shipped>completed completed>refunded"
	statuses := []string{"pending", "paid", "shipped", "completed", "cancelled", "refunded"}
	d := newShop(t)
	var got []string
	for i, from := range statuses {
		for _, to := range statuses {
			if from == to {
				continue
			}
			at := "NULL"
			if to == "completed" || to == "refunded" {
				at = "'2026-01-03Z'"
			}
			d.ok("BEGIN")
			state := d.state(fmt.Sprintf("UPDATE shop.transactions SET status = '%s', completed_at = %s WHERE transaction_id = '10000000-0000-4000-8000-00000000000%d'", to, at, i+1))
			switch state {
			case "ok":
				got = append(got, from+">"+to)
				if h := d.text("SELECT row(from_status, to_status, changed_by) FROM shop.transaction_status_history"); h != "("+from+","+to+",postgres)" {
					t.Errorf("%s>%s: history %s", from, to, h)
				}
			case "SH002":
			default:
				t.Errorf("%s>%s: %s", from, to, state)
			}
			d.ok("ROLLBACK")
		}
	}
	if strings.Join(got, " ") != legal {
		t.Errorf("legal are %v", got)
	}
}

func TestRewrittenCompletionTimeLeavesHistory(t *testing.T) {
	t.Parallel()
	d := newShop(t)
	d.ok("UPDATE shop.transactions SET completed_at = '2026-01-09Z' WHERE status = 'completed'")
	if got := d.text("SELECT row(from_status, to_status, completed_before = '2026-01-02Z', completed_after = '2026-01-09Z') FROM shop.transaction_status_history"); got != "(completed,completed,t,t)" {
		t.Errorf("history %s", got)
	}
	if got := d.text("SELECT count(*) FROM analytics.status_changes"); got != "0" {
		t.Errorf("analysts see %s changes of status", got)
	}
}

func TestTotalsFollowTheLines(t *testing.T) {
	t.Parallel()
	d := newShop(t)
	order := "10000000-0000-4000-8000-000000000002"
	total := func(want string) {
		t.Helper()
		if got := d.text("SELECT row(total_items_count, total_items_price, total_items_weight_kg) FROM shop.transactions WHERE transaction_id = '" + order + "'"); got != want {
			t.Errorf("totals %s, want %s", got, want)
		}
	}
	d.ok(`INSERT INTO shop.transaction_lines (transaction_id, line_no, item_id, quantity, unit_price, unit_weight_kg)
		SELECT '` + order + `', n, ('00000000-0000-4000-8000-00000000000' || n)::uuid, n, n * 1.10, n * 0.001 FROM generate_series(1, 3) n`)
	total("(6,15.40,0.014)")
	d.ok("UPDATE shop.transaction_lines SET quantity = 10 WHERE line_no = 1")
	total("(15,25.30,0.023)")
	d.ok("DELETE FROM shop.transaction_lines WHERE line_no = 3")
	total("(12,15.40,0.014)")
	d.ok("UPDATE shop.items SET cost = 99") // history keeps its prices
	total("(12,15.40,0.014)")
}

func TestTotalsSurviveConcurrentLines(t *testing.T) {
	t.Parallel()
	d := newShop(t)
	errs := make(chan error)
	const clients, each = 4, 25
	for c := range clients {
		go func() {
			conn, err := pgx.Connect(context.Background(), d.url)
			if err != nil {
				errs <- err
				return
			}
			defer conn.Close(context.Background())
			for i := range each {
				_, err = conn.Exec(context.Background(), `INSERT INTO shop.transaction_lines (transaction_id, line_no, item_id, quantity, unit_price, unit_weight_kg)
					VALUES ('10000000-0000-4000-8000-000000000001', $1, '00000000-0000-4000-8000-000000000001', 1, 1, 1)`, c*each+i+1)
				if err != nil {
					break
				}
			}
			errs <- err
		}()
	}
	for range clients {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := d.text("SELECT total_items_count FROM shop.transactions WHERE status = 'pending'"); got != fmt.Sprint(clients*each) {
		t.Errorf("the total is %s", got)
	}
}

func TestRetiredItemStaysRetiredAndIsNotOrdered(t *testing.T) {
	t.Parallel()
	d := newShop(t)
	d.ok("UPDATE shop.items SET retired_at = now() WHERE item_name = 'item 1'")
	line := `INSERT INTO shop.transaction_lines (transaction_id, line_no, item_id, quantity, unit_price, unit_weight_kg)
		VALUES ('10000000-0000-4000-8000-000000000001', 1, '00000000-0000-4000-8000-00000000000%d', 1, 1, 1)`
	for sql, want := range map[string]string{
		"UPDATE shop.items SET retired_at = NULL WHERE item_name = 'item 1'":                     "SH003",
		"UPDATE shop.items SET retired_at = now() + interval '1 day' WHERE item_name = 'item 1'": "SH003",
		fmt.Sprintf(line, 1): "SH001",
		fmt.Sprintf(line, 2): "ok",
		"INSERT INTO shop.items (item_name, manufacturer_id, cost, weight_kg) VALUES ('ITEM 1', 1, 1, 1)": "ok", // its name may be used again
		"INSERT INTO shop.items (item_name, manufacturer_id, cost, weight_kg) VALUES ('ITEM 3', 1, 1, 1)": "23505",
	} {
		if got := d.state(sql); got != want {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
	}
	if got := d.text("SELECT sales.remove_item(('00000000-0000-4000-8000-00000000000' || n)::uuid) FROM generate_series(1, 4) n"); got != "deleted retired deleted absent" {
		t.Errorf("remove_item: %s", got)
	}
}

func TestAgeIsCountedFromAParameter(t *testing.T) {
	t.Parallel()
	d := newShop(t)
	member := func(born string) string {
		return d.state(`INSERT INTO shop.members (membership_id, first_name, last_name, email, mobile_no, date_of_birth)
			VALUES ('Lim_00000', 'A', 'Lim', 'a@emailprovider.net', '81234567', '` + born + `'); DELETE FROM shop.members WHERE last_name = 'Lim'`)
	}
	for born, want := range map[string]string{"2003-12-31": "ok", "2004-01-01": "23514"} {
		if got := member(born); got != want {
			t.Errorf("born %s: %s, want %s", born, got, want)
		}
	}
	d.ok("UPDATE shop.parameters SET adult_on = '2026-01-01'")
	if got := member("2007-12-31"); got != "ok" {
		t.Errorf("after the parameter moved: %s", got)
	}
	if got := d.state("UPDATE shop.parameters SET adult_on = '2000-01-01'"); got != "23514" {
		t.Errorf("a parameter that makes a member too young: %s", got)
	}
	if got := d.state("UPDATE shop.members SET above_18 = false"); got != "ok" || d.text("SELECT above_18 FROM shop.members") != "true" {
		t.Errorf("above_18 can be given: %s", got)
	}
}

func TestAnalystsSeeNoName(t *testing.T) {
	t.Parallel()
	d := newShop(t)
	columns := d.text("SELECT attname FROM pg_attribute WHERE attrelid IN ('analytics.members'::regclass, 'analytics.sales'::regclass) AND attnum > 0")
	for _, personal := range []string{"membership_id", "first_name", "last_name", "email", "mobile_no", "date_of_birth"} {
		if strings.Contains(" "+columns+" ", " "+personal+" ") {
			t.Errorf("%s is shown", personal)
		}
	}
	if got := d.text("SELECT birth_decade FROM analytics.members"); got != "1990" {
		t.Errorf("birth decade %s", got)
	}
}
