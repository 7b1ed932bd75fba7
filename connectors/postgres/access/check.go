package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ExcessError says that a login may do more than is declared. A program that applies changes under it must not start.
type ExcessError struct {
	Login  string
	Rights []string // what it may do beyond the declaration, sorted
}

// Error names the login, the rights and the remedy.
func (e *ExcessError) Error() string {
	return fmt.Sprintf("access: login %s may do more than deploy/access.yaml declares: %s; run `millrun access apply`, or declare it",
		e.Login, strings.Join(e.Rights, "; "))
}

// MissingError says that a login may do less than is declared.
type MissingError struct {
	Login  string
	Rights []string // what it lacks, sorted
}

// Error names the login, the rights and the remedy.
func (e *MissingError) Error() string {
	return fmt.Sprintf("access: login %s lacks what deploy/access.yaml declares: %s; run `millrun access apply`",
		e.Login, strings.Join(e.Rights, "; "))
}

// effectiveSQL lists what the current user may do in the current database, by whichever way it came to it: kind, object,
// column, role (empty), privilege. A right on a whole table is listed for the table and for each column.
const effectiveSQL = `
WITH rel AS (
  SELECT c.oid, c.relkind, nspname || '.' || relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE relkind IN ('r','v','m','p','f','S') AND nspname !~ '^pg_' AND nspname <> 'information_schema'
)
SELECT 'DATABASE', '', '', '', p FROM unnest(ARRAY['CONNECT','CREATE','TEMPORARY']) p
  WHERE has_database_privilege(current_database(), p)
UNION ALL
SELECT 'SCHEMA', nspname, '', '', p FROM pg_namespace n, unnest(ARRAY['USAGE','CREATE']) p
  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND has_schema_privilege(n.oid, p)
UNION ALL
SELECT 'TABLE', name, '', '', p FROM rel, unnest(ARRAY['SELECT','INSERT','UPDATE','DELETE','TRUNCATE','REFERENCES','TRIGGER']) p
  WHERE relkind <> 'S' AND has_table_privilege(oid, p)
UNION ALL
SELECT 'TABLE', name, attname, '', p FROM rel JOIN pg_attribute a ON attrelid = rel.oid, unnest(ARRAY['SELECT','INSERT','UPDATE','REFERENCES']) p
  WHERE relkind <> 'S' AND attnum > 0 AND NOT attisdropped AND has_column_privilege(rel.oid, attnum, p)
UNION ALL
SELECT 'SEQUENCE', name, '', '', p FROM rel, unnest(ARRAY['USAGE','SELECT','UPDATE']) p
  WHERE relkind = 'S' AND has_sequence_privilege(oid, p)
UNION ALL
SELECT 'FUNCTION', nspname || '.' || proname || '(' || oidvectortypes(proargtypes) || ')', '', '', 'EXECUTE'
  FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND has_function_privilege(p.oid, 'EXECUTE')
UNION ALL
SELECT 'TYPE', nspname || '.' || typname, '', '', 'USAGE'
  FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace LEFT JOIN pg_class c ON c.oid = typrelid
  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    AND (typtype IN ('e','d','r') OR (typtype = 'c' AND c.relkind = 'c')) AND has_type_privilege(t.oid, 'USAGE')`

// otherDependenciesSQL finds what effectiveSQL does not speak of: objects that the login or one of its roles owns, and
// grants on anything else (functions of PostgreSQL itself, parameters, tablespaces, languages, foreign servers, large
// objects, default privileges).
const otherDependenciesSQL = `
SELECT CASE d.deptype WHEN 'o' THEN 'ownership of ' ELSE 'a grant on ' END ||
       coalesce(pg_describe_object(d.classid, d.objid, d.objsubid), d.classid::regclass || ' ' || d.objid)
FROM pg_shdepend d
LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
LEFT JOIN pg_namespace s ON d.classid = 'pg_namespace'::regclass AND s.oid = d.objid
LEFT JOIN pg_namespace n ON n.oid = coalesce(c.relnamespace, p.pronamespace, t.typnamespace, s.oid)
WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = ANY($1::oid[])
  AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND (d.deptype = 'o'
       OR (d.deptype = 'a' AND d.classid <> 'pg_database'::regclass
           AND (n.nspname IS NULL OR n.nspname ~ '^pg_' OR n.nspname = 'information_schema')))`

// Check compares what the login of conn may do with what p declares for it, and returns an *ExcessError, a
// *MissingError, both joined, or nil. It runs as the login itself, needs no right of its own and changes nothing.
func Check(ctx context.Context, conn *pgx.Conn, p *Policy, login string) error {
	l, ok := p.login(login)
	if !ok {
		return &ExcessError{Login: login, Rights: []string{"log in: the declaration does not know it"}}
	}
	var excess, missing []string
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL search_path = pg_catalog"); err != nil {
			return err
		}
		var err error
		excess, missing, err = compare(ctx, tx.Conn(), p, l)
		return err
	})
	if err != nil {
		return fmt.Errorf("access: check login %s: %w", login, err)
	}
	var errs []error
	if len(excess) > 0 {
		slices.Sort(excess)
		errs = append(errs, &ExcessError{Login: login, Rights: slices.Compact(excess)})
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		errs = append(errs, &MissingError{Login: login, Rights: slices.Compact(missing)})
	}
	return errors.Join(errs...)
}

// compare collects both directions of the difference.
func compare(ctx context.Context, conn *pgx.Conn, p *Policy, l Login) (excess, missing []string, err error) {
	var user string
	if err := conn.QueryRow(ctx, "SELECT session_user::text").Scan(&user); err != nil {
		return nil, nil, err
	}
	if user != l.Name {
		return nil, nil, fmt.Errorf("the connection is one of %s", user)
	}
	roles, err := readRoles(ctx, conn, []string{l.Name})
	if err != nil {
		return nil, nil, err
	}
	if excess = roles[l.Name].attributes(); slices.Contains(excess, "SUPERUSER") {
		return excess, nil, nil // everything else follows from it
	}
	more, less, err := compareMembers(ctx, conn, l)
	if err != nil {
		return nil, nil, err
	}
	excess, missing = append(excess, more...), less
	more, less, err = compareRightsOf(ctx, conn, p, l)
	if err != nil {
		return nil, nil, err
	}
	excess, missing = append(excess, more...), append(missing, less...)
	more, less, err = comparePolicies(ctx, conn, p, l)
	return append(excess, more...), append(missing, less...), err
}

// compareMembers looks at memberships, direct and inherited, and at what else the login and its roles own or were granted.
func compareMembers(ctx context.Context, conn *pgx.Conn, l Login) (excess, missing []string, err error) {
	rows, err := conn.Query(ctx, `SELECT rolname::text FROM pg_roles WHERE pg_has_role(oid, 'MEMBER') AND rolname <> current_user`)
	if err != nil {
		return nil, nil, err
	}
	member, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, nil, err
	}
	for _, r := range member {
		if !slices.Contains(l.Roles, r) {
			excess = append(excess, "membership of role "+r)
		}
	}
	for _, r := range l.Roles {
		if !slices.Contains(member, r) {
			missing = append(missing, "membership of role "+r)
		}
	}
	rows, err = conn.Query(ctx, otherDependenciesSQL+` UNION SELECT 'a grant on parameter ' || parname FROM pg_parameter_acl, aclexplode(paracl) x
		WHERE x.grantee = ANY($1::oid[])`, oidsOf(ctx, conn, append([]string{l.Name}, l.Roles...)))
	if err != nil {
		return nil, nil, err
	}
	others, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return append(excess, others...), missing, err
}

// oidsOf returns the roles' oids; a role that does not exist has none.
func oidsOf(ctx context.Context, conn *pgx.Conn, names []string) []uint32 {
	rows, _ := conn.Query(ctx, "SELECT oid FROM pg_roles WHERE rolname = ANY($1)", names)
	oids, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
	if err != nil {
		return nil
	}
	return oids
}

// compareRightsOf looks at every object of the database.
func compareRightsOf(ctx context.Context, conn *pgx.Conn, p *Policy, l Login) (excess, missing []string, err error) {
	effective, err := readRights(ctx, conn, effectiveSQL)
	if err != nil {
		return nil, nil, err
	}
	columns := map[string][]string{}
	rows, err := conn.Query(ctx, `SELECT nspname || '.' || relname, attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
		JOIN pg_namespace n ON n.oid = relnamespace WHERE attnum > 0 AND NOT attisdropped AND nspname = ANY($1)`, p.Schemas)
	if err != nil {
		return nil, nil, err
	}
	var table, column string
	if _, err := pgx.ForEachRow(rows, []any{&table, &column}, func() error {
		columns[table] = append(columns[table], column)
		return nil
	}); err != nil {
		return nil, nil, err
	}
	var declared []Right
	for _, r := range p.rights {
		if !slices.Contains(l.Roles, r.Role) {
			continue
		}
		r.Role = ""
		declared = append(declared, r)
		if r.Kind == onTable && r.Column == "" && r.Privilege != "DELETE" {
			for _, c := range columns[r.Object] {
				r.Column = c
				declared = append(declared, r)
			}
		}
	}
	for _, r := range minus(effective, declared) {
		excess = append(excess, r.String())
	}
	for _, r := range minus(declared, effective) {
		missing = append(missing, r.String())
	}
	return excess, missing, nil
}

// comparePolicies looks at row security: a table without it, a policy nobody declared, one that is not what was declared.
func comparePolicies(ctx context.Context, conn *pgx.Conn, p *Policy, l Login) (excess, missing []string, err error) {
	policies, rowSec, err := readPolicies(ctx, conn)
	if err != nil {
		return nil, nil, err
	}
	declared := map[string]bool{}
	for _, r := range p.Policies {
		declared[r.id()] = true
		concerns := slices.ContainsFunc(r.To, func(role string) bool { return slices.Contains(l.Roles, role) })
		mark, exists := policies[r.id()]
		switch {
		case !rowSec[r.Table]:
			excess = append(excess, "every row of "+r.Table+": its row security is off")
		case !exists && concerns:
			missing = append(missing, "row policy "+r.id())
		case exists && !r.inForce(mark):
			excess = append(excess, "row policy "+r.id()+": not the declared one")
		}
	}
	for id := range policies {
		_, table, _ := strings.Cut(id, " on ")
		if schemaOf, _, _ := strings.Cut(table, "."); !declared[id] && slices.Contains(p.Schemas, schemaOf) {
			excess = append(excess, "row policy "+id+": not declared")
		}
	}
	return excess, missing, nil
}
