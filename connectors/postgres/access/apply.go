package access

import (
	"context"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"

	"github.com/millrun/millrun/connectors/postgres/schema"
)

// applyKey serialises Apply within one database.
const applyKey = 0x616363657373 // "access"

// Apply makes the database as declared: roles, migrations, rights, row policies, logins. It works on an empty database,
// is idempotent, and returns what it changed. Rights, policies and logins change in one transaction: nobody sees a state
// between two policies.
func Apply(ctx context.Context, p *Policy, o Options) (*Changes, error) {
	conn, err := connectAdmin(ctx, o.AdminURL)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, conn)
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(applyKey)); err != nil {
		return nil, fmt.Errorf("access: wait for another apply: %w", err)
	}
	c, err := readCatalog(ctx, conn, p)
	if err != nil {
		return nil, err
	}
	done := &Changes{Roles: planRoles(p, c)}
	if err := execAll(ctx, conn, shownAs(done.Roles)); err != nil {
		return nil, err
	}
	if done.Migrations, err = schema.Migrate(ctx, o.AdminURL, schema.Options{Currency: o.Currency, Log: o.Log}); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	if c, err = readCatalog(ctx, conn, p); err != nil {
		return nil, err
	}
	done.Rights, done.Notes = planRights(p, c), planNotes(p, c)
	logins, err := planLogins(ctx, conn, p, c, o.Passwords)
	if err != nil {
		return nil, err
	}
	for _, l := range logins {
		done.Logins = append(done.Logins, l.shown)
	}
	return done, execAll(ctx, conn, append(shownAs(done.Rights), logins...))
}

// shownAs wraps statements without secrets.
func shownAs(sql []string) []secretStatement {
	out := make([]secretStatement, len(sql))
	for i, s := range sql {
		out[i] = secretStatement{s, s}
	}
	return out
}

// execAll executes all or nothing.
func execAll(ctx context.Context, conn *pgx.Conn, sql []secretStatement) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, s := range sql {
			if _, err := tx.Exec(ctx, s.sql); err != nil {
				return fmt.Errorf("%s: %w", s.shown, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	return nil
}

// connectAdmin connects with a search path that leaves every name in the catalogue's answers qualified.
func connectAdmin(ctx context.Context, adminURL string) (*pgx.Conn, error) {
	conn, err := connect(ctx, adminURL)
	if err != nil {
		return nil, fmt.Errorf("access: as administrator: %w", err)
	}
	return conn, nil
}

func connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	cfg.RuntimeParams["search_path"] = "pg_catalog"
	cfg.RuntimeParams["application_name"] = "millrun access"
	return pgx.ConnectConfig(ctx, cfg)
}

// closeConn ends the session, and with it its advisory lock, also when ctx is done; that it fails changes nothing.
func closeConn(ctx context.Context, conn *pgx.Conn) { _ = conn.Close(context.WithoutCancel(ctx)) }

// LoginURL is adminURL for another login: the same server, database and parameters.
func LoginURL(adminURL, login, password string) (string, error) {
	u, err := url.Parse(adminURL)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("access: the database URL must look like postgres://host:5432/shop")
	}
	u.User = url.UserPassword(login, password)
	return u.String(), nil
}

// withDatabase is adminURL for another database of the same server.
func withDatabase(adminURL, database string) (string, error) {
	u, err := url.Parse(adminURL)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("access: the database URL must look like postgres://host:5432/shop")
	}
	u.Path = "/" + database
	return u.String(), nil
}
