package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// catalog is what the server says today about everything the policy declares.
type catalog struct {
	database  string
	admin     string
	superuser bool
	roles     map[string]roleState
	members   map[[2]string]bool // {role, member}
	rights    []Right            // of the policy's roles and logins anywhere, of PUBLIC in the policy's schemas
	policies  map[string]string  // "name on table" → comment and digest as policyMark writes them
	rowSec    map[string]bool    // tables with row security
	publicFns map[string]bool    // functions of RevokeFromPublic that PUBLIC may execute
}

// roleState is one role as pg_roles has it.
type roleState struct {
	Login, Super, CreateDB, CreateRole, Replication, BypassRLS bool
	Connections                                                int
	Settings                                                   map[string]string
}

// attributes names what the role is beyond an ordinary one.
func (r roleState) attributes() []string {
	var out []string
	for name, has := range map[string]bool{"SUPERUSER": r.Super, "CREATEDB": r.CreateDB, "CREATEROLE": r.CreateRole,
		"REPLICATION": r.Replication, "BYPASSRLS": r.BypassRLS} {
		if has {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// grantedSQL lists explicit and default grants: kind, object, column, grantee, privilege. The owner's own are left out.
const grantedSQL = `
WITH acls AS (
  SELECT 'DATABASE' AS kind, '' AS nsp, '' AS object, '' AS col, datdba AS owner, coalesce(datacl, acldefault('d', datdba)) AS acl
    FROM pg_database WHERE datname = current_database()
  UNION ALL
  SELECT 'SCHEMA', nspname AS nsp, nspname AS object, '', nspowner, coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace
  UNION ALL
  SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, nspname, nspname || '.' || relname, '', relowner,
         coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END, relowner))
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r','v','m','p','f','S')
  UNION ALL
  SELECT 'TABLE', nspname, nspname || '.' || relname, attname, relowner, attacl
    FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
    WHERE attacl IS NOT NULL AND NOT attisdropped
  UNION ALL
  SELECT 'FUNCTION', nspname, nspname || '.' || proname || '(' || oidvectortypes(proargtypes) || ')', '', proowner,
         coalesce(proacl, acldefault('f', proowner))
    FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
  UNION ALL
  SELECT 'TYPE', nspname, nspname || '.' || typname, '', typowner, coalesce(typacl, acldefault('T', typowner))
    FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace LEFT JOIN pg_class c ON c.oid = typrelid
    WHERE typtype IN ('e','d','r') OR (typtype = 'c' AND c.relkind = 'c')
)
SELECT kind, object, col, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee) END, x.privilege_type
FROM acls, aclexplode(acl) x
WHERE x.grantee <> owner AND nsp !~ '^pg_' AND nsp <> 'information_schema'
  AND ((x.grantee = 0 AND (kind = 'DATABASE' OR nsp = ANY($2) OR (kind = 'SCHEMA' AND nsp = 'public')))
       OR pg_get_userbyid(x.grantee) = ANY($1))`

// readCatalog reads what the policy speaks of. It changes nothing.
func readCatalog(ctx context.Context, conn *pgx.Conn, p *Policy) (*catalog, error) {
	c := &catalog{}
	err := conn.QueryRow(ctx, `SELECT current_database(), current_user, rolsuper FROM pg_roles WHERE rolname = current_user`).
		Scan(&c.database, &c.admin, &c.superuser)
	if err != nil {
		return nil, fmt.Errorf("access: read the catalogue: %w", err)
	}
	names := p.roleNames()
	if c.roles, err = readRoles(ctx, conn, names); err != nil {
		return nil, err
	}
	if c.members, err = readMembers(ctx, conn, names); err != nil {
		return nil, err
	}
	if c.rights, err = readRights(ctx, conn, grantedSQL, names, p.Schemas); err != nil {
		return nil, err
	}
	if c.policies, c.rowSec, err = readPolicies(ctx, conn); err != nil {
		return nil, err
	}
	c.publicFns, err = readPublicFunctions(ctx, conn, p.RevokeFromPublic)
	return c, err
}

// roleNames are the owner, the roles and the logins.
func (p *Policy) roleNames() []string {
	names := []string{p.Owner}
	for r := range p.Roles {
		names = append(names, r)
	}
	names = append(names, p.Logins()...)
	slices.Sort(names)
	return names
}

func readRoles(ctx context.Context, conn *pgx.Conn, names []string) (map[string]roleState, error) {
	rows, err := conn.Query(ctx, `SELECT rolname, rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication,
		rolbypassrls, rolconnlimit, coalesce(s.setconfig, '{}')
		FROM pg_roles r LEFT JOIN pg_db_role_setting s ON s.setrole = r.oid AND s.setdatabase = 0
		WHERE rolname = ANY($1)`, names)
	if err != nil {
		return nil, fmt.Errorf("access: read the roles: %w", err)
	}
	roles := map[string]roleState{}
	var name string
	var r roleState
	var settings []string
	_, err = pgx.ForEachRow(rows, []any{&name, &r.Login, &r.Super, &r.CreateDB, &r.CreateRole, &r.Replication,
		&r.BypassRLS, &r.Connections, &settings}, func() error {
		r.Settings = map[string]string{}
		for _, s := range settings {
			k, v, _ := strings.Cut(s, "=")
			r.Settings[k] = v
		}
		roles[name] = r
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("access: read the roles: %w", err)
	}
	return roles, nil
}

func readMembers(ctx context.Context, conn *pgx.Conn, names []string) (map[[2]string]bool, error) {
	rows, err := conn.Query(ctx, `SELECT r.rolname, m.rolname FROM pg_auth_members a
		JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member WHERE m.rolname = ANY($1)`, names)
	if err != nil {
		return nil, fmt.Errorf("access: read the memberships: %w", err)
	}
	members := map[[2]string]bool{}
	var role, member string
	_, err = pgx.ForEachRow(rows, []any{&role, &member}, func() error {
		members[[2]string{role, member}] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("access: read the memberships: %w", err)
	}
	return members, nil
}

// readRights collects rows of (kind, object, column, role, privilege).
func readRights(ctx context.Context, conn *pgx.Conn, sql string, args ...any) ([]Right, error) {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("access: read the rights: %w", err)
	}
	var rights []Right
	var r Right
	_, err = pgx.ForEachRow(rows, []any{&r.Kind, &r.Object, &r.Column, &r.Role, &r.Privilege}, func() error {
		rights = append(rights, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("access: read the rights: %w", err)
	}
	slices.SortFunc(rights, compareRights)
	return rights, nil
}

// markSQL is the digest of a policy as the server has understood it. Server versions may write the same expression
// differently: after a major upgrade `access apply` is due.
const markSQL = `encode(sha256(convert_to(concat_ws('|', permissive, cmd, roles::text, coalesce(qual, ''), coalesce(with_check, '')), 'UTF8')), 'hex')`

// readPolicies returns for each policy its comment, followed by " now " and the digest of what is in force.
func readPolicies(ctx context.Context, conn *pgx.Conn) (map[string]string, map[string]bool, error) {
	rows, err := conn.Query(ctx, `SELECT policyname || ' on ' || p.schemaname || '.' || p.tablename,
		coalesce(obj_description(o.oid, 'pg_policy'), '') || ' now ' || `+markSQL+`
		FROM pg_policies p JOIN pg_namespace n ON n.nspname = p.schemaname
		JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
		JOIN pg_policy o ON o.polrelid = c.oid AND o.polname = p.policyname`)
	if err != nil {
		return nil, nil, fmt.Errorf("access: read the row policies: %w", err)
	}
	policies := map[string]string{}
	var name, mark string
	if _, err = pgx.ForEachRow(rows, []any{&name, &mark}, func() error { policies[name] = mark; return nil }); err != nil {
		return nil, nil, fmt.Errorf("access: read the row policies: %w", err)
	}
	rows, err = conn.Query(ctx, `SELECT nspname || '.' || relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE relrowsecurity`)
	if err != nil {
		return nil, nil, fmt.Errorf("access: read the row security: %w", err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, nil, fmt.Errorf("access: read the row security: %w", err)
	}
	rowSec := map[string]bool{}
	for _, t := range tables {
		rowSec[t] = true
	}
	return policies, rowSec, nil
}

// inForce says whether the mark that readPolicies made is that of r, unchanged since it was applied.
func (r RowPolicy) inForce(mark string) bool {
	comment, now, _ := strings.Cut(mark, " now ")
	return comment == r.declared()+" as "+now
}

// declared is the digest of the policy's text.
func (r RowPolicy) declared() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{r.For, strings.Join(r.To, ","), r.Using, r.Check}, "|")))
	return "access.yaml " + hex.EncodeToString(sum[:])
}

// id names the policy as readPolicies does.
func (r RowPolicy) id() string { return r.Name + " on " + r.Table }

func readPublicFunctions(ctx context.Context, conn *pgx.Conn, functions []string) (map[string]bool, error) {
	rows, err := conn.Query(ctx, `SELECT f FROM unnest($1::text[]) f
		WHERE EXISTS (SELECT FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) x
		              WHERE p.oid = to_regprocedure(f) AND x.grantee = 0 AND x.privilege_type = 'EXECUTE')`, functions)
	if err != nil {
		return nil, fmt.Errorf("access: read the functions of PUBLIC: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("access: read the functions of PUBLIC: %w", err)
	}
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out, nil
}
