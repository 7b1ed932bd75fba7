// Package schema is the shop's database as numbered migrations: tables, rules that hold whoever writes, one schema of
// views a team, and the appliers' memory.
//
// Migrations go forward only: a shop is restored from a backup, not from a guess at the inverse. They run as the role
// [Owner], which owns every object and as which nobody logs in, and grant nothing to anybody; rights are declared and
// granted by package access. Safe for concurrent use: two migrations of one database take turns.
package schema

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"regexp"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// Owner is the role that owns every object of the shop.
const Owner = "shop_owner"

// versionTable is where goose notes what was applied.
const versionTable = "pipeline.schema_version"

// advisoryKey serialises migrations of one database.
const advisoryKey = 0x6d696c6c72756e // "millrun"

//go:embed migrations/*.sql
var files embed.FS

var currencyPattern = regexp.MustCompile(`^[A-Z]{3}$`)

// Options of a migration.
type Options struct {
	// Currency is the one currency of the shop's prices, three capitals of ISO 4217. It can change only while the shop
	// has no item. Default: what the database says, SGD in a new one.
	Currency string
	// Log receives a line per applied migration. Default: slog.Default.
	Log *slog.Logger
}

// Migrate brings the database of adminURL to the newest version and returns the names of the migrations it applied.
// The login of adminURL must be a superuser or a member of [Owner], which must exist.
func Migrate(ctx context.Context, adminURL string, o Options) (applied []string, err error) {
	if o.Currency != "" && !currencyPattern.MatchString(o.Currency) {
		return nil, fmt.Errorf("schema: currency %q: three capital letters are needed, such as SGD", o.Currency)
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	release, err := lock(ctx, adminURL)
	if err != nil {
		return nil, err
	}
	defer release()
	db, provider, err := open(adminURL)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS pipeline"); err != nil {
		return nil, fmt.Errorf("schema: make schema pipeline as %s: %w", Owner, err)
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return nil, fmt.Errorf("schema: migrate: %w", err)
	}
	for _, r := range results {
		o.Log.Info("migration applied", "name", r.Source.Path, "took", r.Duration)
		applied = append(applied, r.Source.Path)
	}
	return applied, setCurrency(ctx, db, o.Currency)
}

// Pending names the migrations that [Migrate] would apply; it changes nothing.
func Pending(ctx context.Context, adminURL string) (names []string, err error) {
	conn, err := pgx.Connect(ctx, adminURL)
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	done := map[int64]bool{}
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", versionTable).Scan(&exists); err != nil {
		return nil, fmt.Errorf("schema: look for %s: %w", versionTable, err)
	}
	if exists {
		rows, err := conn.Query(ctx, "SELECT version_id FROM "+versionTable+" WHERE is_applied")
		if err != nil {
			return nil, fmt.Errorf("schema: read %s: %w", versionTable, err)
		}
		versions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return nil, fmt.Errorf("schema: read %s: %w", versionTable, err)
		}
		for _, v := range versions {
			done[v] = true
		}
	}
	db, provider, err := open(adminURL)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, s := range provider.ListSources() {
		if !done[s.Version] {
			names = append(names, s.Path)
		}
	}
	return names, nil
}

// open returns a handle whose every connection acts as Owner, and goose on top of it.
func open(adminURL string) (*sql.DB, *goose.Provider, error) {
	cfg, err := pgx.ParseConfig(adminURL)
	if err != nil {
		return nil, nil, fmt.Errorf("schema: %w", err)
	}
	cfg.RuntimeParams["role"] = Owner
	dir, err := fs.Sub(files, "migrations")
	if err != nil {
		return nil, nil, fmt.Errorf("schema: embedded migrations: %w", err)
	}
	db := stdlib.OpenDB(*cfg)
	provider, err := goose.NewProvider(goose.DialectPostgres, db, dir,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("schema: embedded migrations: %w", err), db.Close())
	}
	return db, provider, nil
}

// lock waits until this migration is the only one of its database.
func lock(ctx context.Context, adminURL string) (release func(), err error) {
	conn, err := pgx.Connect(ctx, adminURL)
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	closeConn := func() { _ = conn.Close(context.WithoutCancel(ctx)) } // the lock ends with the connection either way
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(advisoryKey)); err != nil {
		closeConn()
		return nil, fmt.Errorf("schema: wait for another migration: %w", err)
	}
	return closeConn, nil
}

// setCurrency writes the shop's currency when it differs, which an empty shop alone permits.
func setCurrency(ctx context.Context, db *sql.DB, currency string) error {
	if currency == "" {
		return nil
	}
	var now string
	if err := db.QueryRowContext(ctx, "SELECT currency FROM shop.parameters").Scan(&now); err != nil {
		return fmt.Errorf("schema: read the shop's currency: %w", err)
	}
	if now == currency {
		return nil
	}
	res, err := db.ExecContext(ctx,
		"UPDATE shop.parameters SET currency = $1 WHERE NOT EXISTS (SELECT FROM shop.items)", currency)
	if err != nil {
		return fmt.Errorf("schema: set the shop's currency: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fmt.Errorf(
			"schema: the shop's prices are in %s and there are items: set shop.currency back to %s, or convert the prices first", now, now))
	}
	return nil
}
