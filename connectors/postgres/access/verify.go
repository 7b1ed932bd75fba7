package access

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Result is one case of Verify.
type Result struct {
	Login string // the login that ran it
	Case  string // what it shows
	Want  string // "ok", "ok, N rows" or a SQLSTATE
	Got   string // the same of what happened
	OK    bool
	// Skipped tells why the case could not be shown; then OK is false and the report as a whole is not.
	Skipped string
}

// Report is what Verify found.
type Report struct{ Results []Result }

// OK says that every case came out as declared.
func (r *Report) OK() bool {
	return len(r.Results) > 0 && !slices.ContainsFunc(r.Results, func(x Result) bool { return !x.OK })
}

// Counts are the cases that passed and those that did not.
func (r *Report) Counts() (passed, failed int) {
	for _, x := range r.Results {
		if x.OK {
			passed++
		}
	}
	return passed, len(r.Results) - passed
}

// String is one line a case and a last line with the counts.
func (r *Report) String() string {
	var b strings.Builder
	for _, x := range r.Results {
		mark, got := "ok  ", x.Got
		if !x.OK {
			mark = "FAIL"
		}
		if x.Skipped != "" {
			got = "not shown: " + x.Skipped
		}
		fmt.Fprintf(&b, "%s %-14s %s: want %s, got %s\n", mark, x.Login, x.Case, x.Want, got)
	}
	passed, failed := r.Counts()
	fmt.Fprintf(&b, "access: %d cases passed, %d failed\n", passed, failed)
	return b.String()
}

// Verify proves the declaration by logging in as every login: a wrong password is refused, what the login may do is
// exactly what is declared, and every expectation has its declared outcome. Cases that need rows run in a scratch
// database of the same server, made of the same migrations and rights and dropped afterwards; nothing is left anywhere.
func Verify(ctx context.Context, p *Policy, o Options) (report *Report, err error) {
	admin, err := connectAdmin(ctx, o.AdminURL)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, admin)
	v := &verification{p: p, o: o, report: &Report{}}
	if err := admin.QueryRow(ctx, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user").Scan(&v.superuser); err != nil {
		return nil, fmt.Errorf("access: read the administrator's role: %w", err)
	}
	scratch, drop, err := makeScratch(ctx, admin, p, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, drop()) }()
	for _, name := range p.Logins() {
		if err := v.login(ctx, name, scratch); err != nil {
			return nil, err
		}
	}
	return v.report, nil
}

// verification is one run of Verify.
type verification struct {
	p         *Policy
	o         Options
	superuser bool
	report    *Report
}

func (v *verification) add(login, name, want, got string) {
	v.report.Results = append(v.report.Results, Result{Login: login, Case: name, Want: want, Got: got, OK: want == got})
}

// login shows everything about one login.
func (v *verification) login(ctx context.Context, name, scratchURL string) error {
	password, given := v.o.Passwords[name]
	if !given {
		return fmt.Errorf("access: verify needs the password of %s", name)
	}
	if err := v.wrongPassword(ctx, name); err != nil {
		return err
	}
	here, err := connectLogin(ctx, v.o.AdminURL, name, password)
	if err != nil {
		v.add(name, "logs in", "ok", outcome(err))
		return nil
	}
	defer closeConn(ctx, here)
	there, err := connectLogin(ctx, scratchURL, name, password)
	if err != nil {
		return fmt.Errorf("access: %s in the scratch database: %w", name, err)
	}
	defer closeConn(ctx, there)
	v.add(name, "logs in", "ok", "ok")
	got := "exactly the declared rights"
	if err := Check(ctx, here, v.p, name); err != nil {
		got = err.Error()
	}
	v.add(name, "may do what is declared, and nothing else", "exactly the declared rights", got)
	for _, e := range v.p.Expectations {
		if login, _ := v.p.LoginOf(e.Login); login != name {
			continue
		}
		conn := here
		if e.Rows {
			conn = there
		}
		v.expectation(ctx, conn, name, e)
	}
	return nil
}

// wrongPassword shows that the password matters: under `trust` every later case would prove nothing.
func (v *verification) wrongPassword(ctx context.Context, name string) error {
	guess := make([]byte, 16)
	_, _ = rand.Read(guess) // never fails: crypto/rand ends the process instead
	conn, err := connectLogin(ctx, v.o.AdminURL, name, hex.EncodeToString(guess))
	if err == nil {
		closeConn(ctx, conn)
	}
	v.add(name, "is refused with a wrong password", "28P01", outcome(err))
	return nil
}

// expectation runs one case and rolls it back.
func (v *verification) expectation(ctx context.Context, conn *pgx.Conn, login string, e Expectation) {
	want := e.Want
	if e.Affected != nil {
		want = fmt.Sprintf("%s, %d rows", want, *e.Affected)
	}
	if e.SuperuserOnly && !v.superuser {
		v.report.Results = append(v.report.Results, Result{Login: login, Case: e.Name, Want: want,
			Skipped: "PUBLIC keeps the right: the administrator is no superuser"})
		return
	}
	affected, err := rehearse(ctx, conn, e.SQL)
	got := outcome(err)
	if err == nil && e.Affected != nil {
		got = fmt.Sprintf("%s, %d rows", got, affected)
	}
	v.add(login, e.Name, want, got)
}

// rehearse runs statements in a transaction that is always rolled back, and returns the rows of the last one.
func rehearse(ctx context.Context, conn *pgx.Conn, sql string) (affected int64, err error) {
	if _, err := conn.Exec(ctx, "BEGIN"); err != nil {
		return 0, err
	}
	results := conn.PgConn().Exec(ctx, sql)
	for results.NextResult() {
		tag, err := results.ResultReader().Close()
		if err == nil {
			affected = tag.RowsAffected()
		}
	}
	err = results.Close()
	_, rollback := conn.Exec(ctx, "ROLLBACK")
	return affected, errors.Join(err, rollback)
}

// outcome is "ok", the SQLSTATE, or the error's text.
func outcome(err error) string {
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &pg):
		return pg.Code
	default:
		return err.Error()
	}
}

func connectLogin(ctx context.Context, adminURL, login, password string) (*pgx.Conn, error) {
	dsn, err := LoginURL(adminURL, login, password)
	if err != nil {
		return nil, err
	}
	return connect(ctx, dsn)
}

// scratchPrefix begins the name of every scratch database.
const scratchPrefix = "millrun_verify_"

// makeScratch makes a database with the schema, rights and fixture of p, and returns its URL and what drops it.
func makeScratch(ctx context.Context, admin *pgx.Conn, p *Policy, o Options) (dsn string, drop func() error, err error) {
	suffix := make([]byte, 6)
	_, _ = rand.Read(suffix) // never fails: crypto/rand ends the process instead
	name := scratchPrefix + hex.EncodeToString(suffix)
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+quote(name)); err != nil {
		return "", nil, fmt.Errorf("access: make a scratch database: %w", err)
	}
	drop = func() error {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		// Without FORCE the server waits some seconds for our closed sessions to be gone; with it, an administrator who is no
		// superuser may not end those of other logins.
		_, err := admin.Exec(late, "DROP DATABASE "+quote(name))
		if outcome(err) == "55006" {
			_, err = admin.Exec(late, "DROP DATABASE "+quote(name)+" WITH (FORCE)")
		}
		if err != nil {
			return fmt.Errorf("access: drop the scratch database %s: %w", name, err)
		}
		return nil
	}
	scratch := Options{Currency: o.Currency, Log: slog.New(slog.DiscardHandler)}
	if scratch.AdminURL, err = withDatabase(o.AdminURL, name); err == nil {
		_, err = Apply(ctx, p, scratch)
	}
	if err == nil {
		err = fill(ctx, scratch.AdminURL, p)
	}
	if err != nil {
		return "", nil, errors.Join(err, drop())
	}
	return scratch.AdminURL, drop, nil
}

// fill runs the fixture as the owner, who is above row security.
func fill(ctx context.Context, adminURL string, p *Policy) error {
	conn, err := connectAdmin(ctx, adminURL)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	if _, err := conn.Exec(ctx, "SET ROLE "+quote(p.Owner)); err != nil {
		return fmt.Errorf("access: fill the scratch database: %w", err)
	}
	if _, err := conn.PgConn().Exec(ctx, p.Fixture).ReadAll(); err != nil {
		return fmt.Errorf("access: fill the scratch database: %w", err)
	}
	return nil
}
