package access_test

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
	"go.uber.org/goleak"

	"github.com/millrun/millrun/connectors/postgres/access"
	"github.com/millrun/millrun/internal/pgd"
)

// The tests share one PostgreSQL and its roles. A test that changes roles, not only rights in its own database, has a
// server of its own.
var (
	server *pgd.Server
	quiet  = slog.New(slog.DiscardHandler)
	serial atomic.Int64
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
	dir, err := os.MkdirTemp("", "millrun-access-")
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
	p, err := access.Load("")
	if err != nil {
		return 1, err
	}
	if _, err := access.Apply(ctx, p, options(p, server.AdminURL())); err != nil { // makes the roles, which all databases share
		return 1, err
	}
	return m.Run(), nil
}

func options(p *access.Policy, adminURL string) access.Options {
	o := access.Options{AdminURL: adminURL, Passwords: map[string]string{}, Log: quiet}
	for _, l := range p.Logins() {
		o.Passwords[l] = "password of " + l
	}
	return o
}

func load(t *testing.T) *access.Policy {
	t.Helper()
	p, err := access.Load("")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// newDatabase makes an empty database on the shared server and returns its URL.
func newDatabase(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("shop_%d", serial.Add(1))
	exec(t, server.AdminURL(), "CREATE DATABASE "+name)
	t.Cleanup(func() { exec(t, server.AdminURL(), "DROP DATABASE "+name+" WITH (FORCE)") })
	return strings.Replace(server.AdminURL(), "/postgres?", "/"+name+"?", 1)
}

func exec(t *testing.T, dsn string, statements ...string) {
	t.Helper()
	conn := connect(t, dsn)
	for _, sql := range statements {
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func applied(t *testing.T) (*access.Policy, access.Options) {
	t.Helper()
	p := load(t)
	o := options(p, newDatabase(t))
	if _, err := access.Apply(t.Context(), p, o); err != nil {
		t.Fatal(err)
	}
	return p, o
}

// check logs in and compares the login's rights with the declaration.
func check(t *testing.T, p *access.Policy, o access.Options, login string) error {
	t.Helper()
	dsn, err := access.LoginURL(o.AdminURL, login, o.Passwords[login])
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, dsn)
	defer func() { _ = conn.Close(context.Background()) }()
	return access.Check(t.Context(), conn, p, login)
}

func TestApplyMakesAnEmptyDatabaseAsDeclaredAndIsThenIdle(t *testing.T) {
	t.Parallel()
	p := load(t)
	o := options(p, newDatabase(t))
	plan, err := access.Plan(t.Context(), p, o)
	if err != nil || plan.Empty() || len(plan.Migrations) != 3 {
		t.Fatalf("plan of an empty database: %v, %v", plan, err)
	}
	done, err := access.Apply(t.Context(), p, o)
	if err != nil || done.Empty() {
		t.Fatalf("apply: %v, %v", done, err)
	}
	for _, password := range o.Passwords {
		if strings.Contains(plan.String()+done.String(), password) {
			t.Error("a plan shows a password")
		}
	}
	for range 2 {
		if again, err := access.Plan(t.Context(), p, o); err != nil || !again.Empty() || again.String() != "-- nothing to change\n" {
			t.Fatalf("second plan: %v, %v", again, err)
		}
		if again, err := access.Apply(t.Context(), p, o); err != nil || !again.Empty() {
			t.Fatalf("second apply: %v, %v", again, err)
		}
	}
}

func TestEveryLoginDoesWhatIsDeclaredAndNothingElse(t *testing.T) {
	t.Parallel()
	p, o := applied(t)
	report, err := access.Verify(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	passed, failed := report.Counts()
	if !report.OK() || passed < 43 || failed != 0 {
		t.Errorf("%s", report)
	}
}

func TestVerifyFailsForEachPlantedFault(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, want string }{
		"a table right":  {"GRANT USAGE ON SCHEMA shop TO team_analytics; GRANT SELECT ON shop.members TO team_analytics", "FAIL analytics_ro   cannot read base tables: want 42501, got ok"},
		"a lost right":   {"REVOKE SELECT ON analytics.sales FROM team_analytics", "lacks what deploy/access.yaml declares: SELECT (completed_at) on analytics.sales"},
		"row security":   {"ALTER TABLE shop.transactions DISABLE ROW LEVEL SECURITY", "every row of shop.transactions: its row security is off"},
		"a wide policy":  {"ALTER POLICY complete ON shop.transactions USING (true) WITH CHECK (true)", "row policy complete on shop.transactions: not the declared one"},
		"a large object": {"GRANT EXECUTE ON FUNCTION pg_catalog.lo_create(oid) TO PUBLIC", "cannot make a large object: want 42501, got ok"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, o := applied(t)
			exec(t, o.AdminURL, c.sql)
			report, err := access.Verify(t.Context(), p, o)
			if err != nil {
				t.Fatal(err)
			}
			if report.OK() || !strings.Contains(report.String(), c.want) {
				t.Errorf("want %s in\n%s", c.want, report)
			}
			if _, err := access.Apply(t.Context(), p, o); err != nil {
				t.Fatal(err)
			}
			if plan, err := access.Plan(t.Context(), p, o); err != nil || !plan.Empty() {
				t.Errorf("apply did not mend it: %v, %v", plan, err)
			}
			for _, login := range p.Logins() {
				if err := check(t, p, o, login); err != nil {
					t.Errorf("after apply: %v", err)
				}
			}
		})
	}
}

func TestCheckNamesEveryExcessRight(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ sql, want string }{
		{"GRANT SELECT (email) ON shop.members TO team_logistics", "SELECT (email) on shop.members"},
		{"GRANT TRUNCATE ON shop.items TO logistics_app", "TRUNCATE on shop.items"},
		{"GRANT UPDATE ON shop.items TO PUBLIC", "UPDATE on shop.items"},
		{"GRANT CREATE ON SCHEMA shop TO team_logistics", "CREATE on schema shop"},
		{"GRANT USAGE ON SCHEMA analytics TO change_applier", "USAGE on schema analytics"},
		{"GRANT TEMPORARY ON DATABASE %s TO logistics_app", "TEMPORARY on the database"},
		{"GRANT EXECUTE ON FUNCTION sales.remove_item(uuid) TO team_logistics", "EXECUTE on function sales.remove_item(uuid)"},
		{"GRANT USAGE ON SEQUENCE shop.members_member_key_seq TO team_logistics", "USAGE on sequence shop.members_member_key_seq"},
		{"GRANT USAGE ON TYPE shop.membership_status TO team_logistics", "USAGE on type shop.membership_status"},
		{"CREATE TABLE shop.notes (a int); ALTER TABLE shop.notes OWNER TO logistics_app", "ownership of table shop.notes"},
		{"CREATE SCHEMA extra; CREATE TABLE extra.t (a int); GRANT USAGE ON SCHEMA extra TO PUBLIC; GRANT SELECT ON extra.t TO PUBLIC", "SELECT on extra.t"},
		{"GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO logistics_app", "a grant on function pg_read_file(text)"},
		{"CREATE POLICY everything ON shop.transactions FOR ALL TO team_logistics USING (true)", "row policy everything on shop.transactions: not declared"},
		{"DO $$ BEGIN PERFORM lo_create(4711); EXECUTE 'GRANT SELECT ON LARGE OBJECT 4711 TO logistics_app'; END $$", "a grant on large object 4711"},
	} {
		t.Run(c.want, func(t *testing.T) {
			t.Parallel()
			p, o := applied(t)
			if err := check(t, p, o, "logistics_app"); err != nil {
				t.Fatal(err)
			}
			database := o.AdminURL[strings.LastIndexByte(o.AdminURL, '/')+1 : strings.IndexByte(o.AdminURL, '?')]
			exec(t, o.AdminURL, strings.Replace(c.sql, "%s", database, 1))
			var excess *access.ExcessError
			if err := check(t, p, o, "logistics_app"); !errors.As(err, &excess) || excess.Login != "logistics_app" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestRolesBeyondTheDeclaredAreExcess(t *testing.T) {
	t.Parallel()
	p, o := ownServer(t)
	for _, c := range []struct{ grant, want, undo string }{
		{"ALTER ROLE logistics_app SUPERUSER", "SUPERUSER", "ALTER ROLE logistics_app NOSUPERUSER"},
		{"ALTER ROLE logistics_app CREATEROLE CREATEDB", "CREATEDB; CREATEROLE", "ALTER ROLE logistics_app NOCREATEROLE NOCREATEDB"},
		{"ALTER ROLE logistics_app BYPASSRLS", "BYPASSRLS", "ALTER ROLE logistics_app NOBYPASSRLS"},
		{"GRANT pg_read_all_data TO logistics_app", "membership of role pg_read_all_data", ""},
		{"GRANT team_sales TO team_logistics", "membership of role team_sales", "REVOKE team_sales FROM team_logistics"},
		{"GRANT SET ON PARAMETER log_statement TO logistics_app", "a grant on parameter log_statement", "REVOKE SET ON PARAMETER log_statement FROM logistics_app"},
	} {
		exec(t, o.AdminURL, c.grant)
		var excess *access.ExcessError
		if err := check(t, p, o, "logistics_app"); !errors.As(err, &excess) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.grant, err)
		}
		if c.undo != "" && !strings.HasPrefix(c.grant, "ALTER") {
			exec(t, o.AdminURL, c.undo) // not under apply's control
		}
		if _, err := access.Apply(t.Context(), p, o); err != nil {
			t.Fatal(err)
		}
		if err := check(t, p, o, "logistics_app"); err != nil {
			t.Errorf("after apply: %v", err)
		}
	}
}

func ownServer(t *testing.T) (*access.Policy, access.Options) {
	t.Helper()
	s, err := pgd.Start(t.Context(), pgd.Config{Dir: t.TempDir(), Ephemeral: true, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	p := load(t)
	o := options(p, s.AdminURL())
	if _, err := access.Apply(t.Context(), p, o); err != nil {
		t.Fatal(err)
	}
	return p, o
}

func TestApplyMendsLoginsAndTheirPasswords(t *testing.T) {
	t.Parallel()
	p, o := ownServer(t)
	exec(t, o.AdminURL, "ALTER ROLE sales_app CONNECTION LIMIT 99", "ALTER ROLE sales_app RESET lock_timeout", "ALTER ROLE sales_app SET work_mem = '1GB'",
		"ALTER ROLE team_sales LOGIN", "ALTER ROLE analytics_ro RESET default_transaction_read_only")
	o.Passwords["sales_app"] = "a new one"
	done, err := access.Apply(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`ALTER ROLE "analytics_ro" SET "default_transaction_read_only" = 'on'`, `ALTER ROLE "sales_app" CONNECTION LIMIT 10`,
		`ALTER ROLE "sales_app" SET "lock_timeout" = '3s'`, `ALTER ROLE "sales_app" RESET "work_mem"`,
		`ALTER ROLE "sales_app" PASSWORD 'from the configuration'`}
	if got := strings.Join(done.Logins, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("changed\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	if got := strings.Join(done.Roles, "\n"); got != `ALTER ROLE "team_sales" NOLOGIN` {
		t.Errorf("roles: %s", got)
	}
	if err := check(t, p, o, "sales_app"); err != nil {
		t.Errorf("the new password: %v", err)
	}
	var stored string
	if err := connect(t, o.AdminURL).QueryRow(t.Context(), "SELECT rolpassword FROM pg_authid WHERE rolname = 'sales_app'").Scan(&stored); err != nil || !strings.HasPrefix(stored, "SCRAM-SHA-256$4096:") {
		t.Errorf("stored as %q, %v", stored, err)
	}
	o.Passwords["sales_app"] = "pässword"
	if _, err := access.Apply(t.Context(), p, o); err == nil || strings.Contains(err.Error(), "pässword") || !strings.Contains(err.Error(), "sales_app") {
		t.Errorf("a password that SCRAM clients write in two ways: %v", err)
	}
}

// Azure's administrator may make roles and databases and is no superuser.
func TestAdministratorNeedsNotBeASuperuser(t *testing.T) {
	t.Parallel()
	s, err := pgd.Start(t.Context(), pgd.Config{Dir: t.TempDir(), Ephemeral: true, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	exec(t, s.AdminURL(), "CREATE ROLE azure LOGIN CREATEROLE CREATEDB PASSWORD 'azure'", "CREATE DATABASE shop OWNER azure",
		"ALTER SCHEMA public OWNER TO azure")
	p := load(t)
	o := options(p, s.URL("azure", "azure", "shop"))
	plan, err := access.Apply(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Notes) != 3 || !strings.Contains(plan.String(), "-- PUBLIC keeps EXECUTE on pg_catalog.lo_create(oid): only a superuser can take it away") {
		t.Errorf("what is left is not said:\n%s", plan)
	}
	report, err := access.Verify(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		if !r.OK && r.Skipped == "" {
			t.Errorf("%+v", r)
		}
	}
	if _, failed := report.Counts(); failed != 2 {
		t.Errorf("%s", report)
	}
	var left int
	if err := connect(t, s.AdminURL()).QueryRow(t.Context(), "SELECT count(*) FROM pg_database WHERE datname LIKE 'millrun_verify_%'").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d scratch databases are left, %v", left, err)
	}
}

func TestMatrixIsReadFromTheDatabase(t *testing.T) {
	t.Parallel()
	p, o := applied(t)
	exec(t, o.AdminURL, "GRANT DELETE ON shop.members TO member_app", "DROP POLICY intake ON shop.transactions")
	m, err := access.Matrix(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| object | change_applier | svc_checkout | svc_membership | team_analytics | team_logistics | team_sales | member_app |",
		"SELECT (member_key, membership_id) | INSERT (date_of_birth, email, first_name, last_name, membership_id, mobile_no); SELECT (membership_id); UPDATE (status, updated_at) | – | – | – | DELETE |",
		"| intake on shop.transactions | INSERT | svc_checkout | – | status IN ('pending', 'paid') | no |",
		"| analytics_ro | team_analytics | 5 | default_transaction_read_only = on, ",
	} {
		if !strings.Contains(m, want) {
			t.Errorf("%s\nis not in\n%s", want, m)
		}
	}
}

func TestAppliesOfOneDatabaseTakeTurns(t *testing.T) {
	t.Parallel()
	p := load(t)
	o := options(p, newDatabase(t))
	errs := make(chan error)
	for range 4 {
		go func() {
			_, err := access.Apply(context.Background(), p, o)
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
