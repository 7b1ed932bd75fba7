package access

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/millrun/millrun/connectors/postgres/schema"
)

// Options say where, and with which secrets.
type Options struct {
	// AdminURL is a database URL of a superuser, or of a role that may create roles and is a member of the owner.
	AdminURL string
	// Passwords maps a login to its password: printable ASCII. Plan and Matrix need none; Apply leaves a login without an
	// entry as it is; Verify needs them all.
	Passwords map[string]string
	// Currency is the shop's currency; see schema.Options.
	Currency string
	// Log receives a line per applied migration. Default: slog.Default.
	Log *slog.Logger
}

// Changes is the difference between a policy and a database, as SQL in the order in which it is executed.
type Changes struct {
	// Roles make the roles and what the migrations need.
	Roles []string
	// Migrations are the names of the migrations that follow.
	Migrations []string
	// Rights revoke what is not declared and grant what is.
	Rights []string
	// Logins set memberships, limits, settings and passwords; a password is shown as a word, never itself.
	Logins []string
	// Notes tell what cannot be changed with the administrator's rights.
	Notes []string
}

// Empty says that the database is as declared.
func (c *Changes) Empty() bool {
	return len(c.Roles)+len(c.Migrations)+len(c.Rights)+len(c.Logins) == 0
}

// String is the plan as SQL with comments.
func (c *Changes) String() string {
	if c.Empty() && len(c.Notes) == 0 {
		return "-- nothing to change\n"
	}
	var b strings.Builder
	section := func(title string, lines []string, prefix, suffix string) {
		if len(lines) == 0 {
			return
		}
		fmt.Fprintf(&b, "-- %s\n", title)
		for _, l := range lines {
			fmt.Fprintf(&b, "%s%s%s\n", prefix, l, suffix)
		}
	}
	section("roles", c.Roles, "", ";")
	section("migrations", c.Migrations, "-- ", "")
	section("rights", c.Rights, "", ";")
	section("logins", c.Logins, "", ";")
	section("not changed", c.Notes, "-- ", "")
	return b.String()
}

// Plan computes what Apply would do. It changes nothing. Before the first Apply the rights on tables that a migration
// will make are listed too.
func Plan(ctx context.Context, p *Policy, o Options) (*Changes, error) {
	conn, err := connectAdmin(ctx, o.AdminURL)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, conn)
	c, err := readCatalog(ctx, conn, p)
	if err != nil {
		return nil, err
	}
	changes := &Changes{Roles: planRoles(p, c), Rights: planRights(p, c), Notes: planNotes(p, c)}
	if changes.Migrations, err = schema.Pending(ctx, o.AdminURL); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	logins, err := planLogins(ctx, conn, p, c, o.Passwords)
	if err != nil {
		return nil, err
	}
	for _, l := range logins {
		changes.Logins = append(changes.Logins, l.shown)
	}
	return changes, nil
}

// planRoles makes the owner and the roles, and lets the owner work in the database.
func planRoles(p *Policy, c *catalog) []string {
	var sql []string
	for _, r := range p.roleNames() {
		_, isLogin := p.login(r)
		state, exists := c.roles[r]
		switch {
		case isLogin:
		case !exists:
			sql = append(sql, "CREATE ROLE "+quote(r)+" NOLOGIN")
		case state.Login:
			sql = append(sql, "ALTER ROLE "+quote(r)+" NOLOGIN")
		}
		if !isLogin {
			sql = append(sql, withoutAttributes(r, state)...)
		}
	}
	if _, exists := c.roles[p.Owner]; !exists || !slices.Contains(c.rights, ownerCreates(p)) {
		sql = append(sql, statements("GRANT", "TO", c.database, []Right{ownerCreates(p)})...)
	}
	if !c.superuser && !c.members[[2]string{p.Owner, c.admin}] {
		sql = append(sql, "GRANT "+quote(p.Owner)+" TO "+quote(c.admin))
	}
	return sql
}

// ownerCreates is the one right of the owner that is no ownership: to make the shop's schemas.
func ownerCreates(p *Policy) Right {
	return Right{Role: p.Owner, Kind: onDatabase, Privilege: "CREATE"}
}

// withoutAttributes takes away what no role of the shop may have.
func withoutAttributes(role string, s roleState) []string {
	var sql []string
	for _, a := range s.attributes() {
		sql = append(sql, "ALTER ROLE "+quote(role)+" NO"+a)
	}
	return sql
}

// planRights revokes first: a right that moves from one role to another is never with both.
func planRights(p *Policy, c *catalog) []string {
	declared := append([]Right{ownerCreates(p)}, p.rights...)
	sql := statements("REVOKE", "FROM", c.database, minus(c.rights, declared))
	if c.superuser {
		for _, f := range p.RevokeFromPublic {
			if c.publicFns[f] {
				sql = append(sql, statements("REVOKE", "FROM", c.database,
					[]Right{{Role: public, Kind: onFunction, Object: f, Privilege: "EXECUTE"}})...)
			}
		}
	}
	sql = append(sql, statements("GRANT", "TO", c.database, minus(p.rights, c.rights))...)
	return append(sql, planPolicies(p, c)...)
}

// planPolicies makes each declared row policy anew when what is in force is not exactly it, and drops every other one in
// the policy's schemas. The server's own reading of the expression is kept in the comment, so that a later change of the
// expression, by whomever, is seen.
func planPolicies(p *Policy, c *catalog) []string {
	var sql []string
	declared := map[string]bool{}
	for _, r := range p.Policies {
		declared[r.id()] = true
		table := quote(strings.Split(r.Table, ".")...)
		mark, exists := c.policies[r.id()]
		if !c.rowSec[r.Table] {
			sql = append(sql, "ALTER TABLE "+table+" ENABLE ROW LEVEL SECURITY")
			c.rowSec[r.Table] = true // once is enough for several policies
		}
		if exists && r.inForce(mark) {
			continue
		}
		if exists {
			sql = append(sql, "DROP POLICY "+quote(r.Name)+" ON "+table)
		}
		sql = append(sql, r.create(table), r.comment(table))
	}
	for _, id := range slices.Sorted(maps.Keys(c.policies)) {
		name, table, _ := strings.Cut(id, " on ")
		if schemaOf, _, _ := strings.Cut(table, "."); !declared[id] && slices.Contains(p.Schemas, schemaOf) {
			sql = append(sql, "DROP POLICY "+quote(name)+" ON "+quote(strings.Split(table, ".")...))
		}
	}
	return sql
}

func (r RowPolicy) create(table string) string {
	roles := make([]string, len(r.To))
	for i, role := range r.To {
		roles[i] = quote(role)
	}
	sql := fmt.Sprintf("CREATE POLICY %s ON %s FOR %s TO %s", quote(r.Name), table, r.For, strings.Join(roles, ", "))
	if r.Using != "" {
		sql += " USING (" + r.Using + ")"
	}
	if r.Check != "" {
		sql += " WITH CHECK (" + r.Check + ")"
	}
	return sql
}

// comment notes on the policy what was declared and how the server reads it.
func (r RowPolicy) comment(table string) string {
	schemaName, tableName, _ := strings.Cut(r.Table, ".")
	return fmt.Sprintf(`DO $mark$ BEGIN EXECUTE (SELECT format('COMMENT ON POLICY %s ON %s IS %%L', %s || ' as ' || %s)
  FROM pg_policies WHERE policyname = %s AND schemaname = %s AND tablename = %s); END $mark$`,
		quote(r.Name), table, literal(r.declared()), markSQL, literal(r.Name), literal(schemaName), literal(tableName))
}

// planNotes tells what is left because the administrator is no superuser.
func planNotes(p *Policy, c *catalog) []string {
	var notes []string
	for _, f := range p.RevokeFromPublic {
		if c.publicFns[f] && !c.superuser {
			notes = append(notes, fmt.Sprintf("PUBLIC keeps EXECUTE on %s: only a superuser can take it away", f))
		}
	}
	return notes
}

// secretStatement is SQL and the form of it that may be shown.
type secretStatement struct{ sql, shown string }

// planLogins makes each login as declared: attributes, limit, settings, memberships, password.
func planLogins(ctx context.Context, conn *pgx.Conn, p *Policy, c *catalog, passwords map[string]string) ([]secretStatement, error) {
	var out []secretStatement
	add := func(sql ...string) {
		for _, s := range sql {
			out = append(out, secretStatement{s, s})
		}
	}
	for _, name := range p.Logins() {
		l, _ := p.login(name)
		state, exists := c.roles[name]
		if !exists {
			add("CREATE ROLE " + quote(name) + " LOGIN")
		} else if !state.Login {
			add("ALTER ROLE " + quote(name) + " LOGIN")
		}
		add(withoutAttributes(name, state)...)
		if !exists || state.Connections != l.Connections {
			add(fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT %d", quote(name), l.Connections))
		}
		add(planSettings(l, state)...)
		add(planMembers(l, c)...)
		verifier, err := newVerifier(ctx, conn, name, passwords)
		if err != nil {
			return nil, err
		}
		if verifier != "" {
			set := "ALTER ROLE " + quote(name) + " PASSWORD "
			out = append(out, secretStatement{set + literal(verifier), set + "'from the configuration'"})
		}
	}
	return out, nil
}

func planSettings(l Login, s roleState) []string {
	var sql []string
	for _, k := range slices.Sorted(maps.Keys(l.Settings)) {
		if s.Settings[k] != l.Settings[k] {
			sql = append(sql, fmt.Sprintf("ALTER ROLE %s SET %s = %s", quote(l.Name), quote(k), literal(l.Settings[k])))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(s.Settings)) {
		if _, declared := l.Settings[k]; !declared {
			sql = append(sql, fmt.Sprintf("ALTER ROLE %s RESET %s", quote(l.Name), quote(k)))
		}
	}
	return sql
}

func planMembers(l Login, c *catalog) []string {
	var sql []string
	for m := range c.members {
		if m[1] == l.Name && !slices.Contains(l.Roles, m[0]) {
			sql = append(sql, "REVOKE "+quote(m[0])+" FROM "+quote(l.Name))
		}
	}
	slices.Sort(sql)
	for _, r := range l.Roles {
		if !c.members[[2]string{r, l.Name}] {
			sql = append(sql, "GRANT "+quote(r)+" TO "+quote(l.Name))
		}
	}
	return sql
}
