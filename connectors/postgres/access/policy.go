// Package access keeps the rights in the shop's database equal to a declaration, deploy/access.yaml: it plans and applies
// the difference, proves the result by logging in as every login, and lets a program refuse a login that may do more, or
// less, than declared.
//
// A [Policy] is immutable once loaded. All functions are safe for concurrent use; two Apply of one database take turns.
// Passwords come from the caller, travel to the server only as SCRAM-SHA-256 verifiers (RFC 5803) and appear in no plan,
// error or log.
package access

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/millrun/millrun/deploy"
)

// Policy is the declared access: which roles exist, what they may do, who logs in with which limits, and the cases that
// prove it.
type Policy struct {
	// Owner owns every object; nobody logs in as it.
	Owner string `yaml:"owner"`
	// Schemas are the schemas in which nothing but the declared is left to the roles and to PUBLIC.
	Schemas []string `yaml:"schemas"`
	// Roles maps each role that nobody logs in as to a sentence about it.
	Roles map[string]string `yaml:"roles"`
	// LoginsByTeam maps a team, the key under database.credentials, to its login.
	LoginsByTeam map[string]Login `yaml:"logins"`
	// Grants maps a role to its rights.
	Grants map[string]Grant `yaml:"grants"`
	// Policies are the row security policies.
	Policies []RowPolicy `yaml:"policies"`
	// RevokeFromPublic are functions of PostgreSQL that PUBLIC loses where the administrator is a superuser.
	RevokeFromPublic []string `yaml:"revoke_from_public"`
	// Fixture is SQL that fills a scratch database for the cases that need rows.
	Fixture string `yaml:"fixture"`
	// Expectations are the cases of Verify.
	Expectations []Expectation `yaml:"expectations"`

	rights []Right
}

// Login is a role that logs in: it holds memberships, limits and session settings, never a right of its own.
type Login struct {
	Name        string            `yaml:"name"`
	Roles       []string          `yaml:"roles"`
	Connections int               `yaml:"connections"`
	Settings    map[string]string `yaml:"settings"`
}

// Grant is what one role may do.
type Grant struct {
	Database  []string            `yaml:"database"`
	Schemas   []string            `yaml:"schemas"`
	Types     []string            `yaml:"types"`
	Functions []string            `yaml:"functions"`
	Tables    map[string][]string `yaml:"tables"`
}

// RowPolicy is a permissive row security policy; its table must have row security.
type RowPolicy struct {
	Name  string   `yaml:"name"`
	Table string   `yaml:"table"`
	For   string   `yaml:"for"`
	To    []string `yaml:"to"`
	Using string   `yaml:"using"`
	Check string   `yaml:"check"`
}

// Expectation is one case of Verify: SQL that a login runs, and the only acceptable outcome.
type Expectation struct {
	Login string `yaml:"login"` // the team
	Name  string `yaml:"name"`
	SQL   string `yaml:"sql"`
	Want  string `yaml:"want"` // "ok" or a SQLSTATE
	// Affected is the number of rows of the last statement; nil: any.
	Affected *int64 `yaml:"affected"`
	// Rows says that the case needs the rows of Fixture.
	Rows bool `yaml:"rows"`
	// SuperuserOnly says that the outcome needs a right that only a superuser can have taken away.
	SuperuserOnly bool `yaml:"superuser_only"`
}

var (
	identifier = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)
	qualified  = regexp.MustCompile(`^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*$`)
	function   = regexp.MustCompile(`^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*\([a-z0-9_, ]*\)$`)
	tableRight = regexp.MustCompile(`^(SELECT|INSERT|UPDATE|DELETE|REFERENCES)(?: \(([a-z0-9_, ]+)\))?$`)
	sqlstate   = regexp.MustCompile(`^(ok|[0-9A-Z]{5})$`)
	duration   = regexp.MustCompile(`^[a-z0-9]+$`)
)

// Load reads the policy at path, or the one built into the binary when path is empty. All faults come back at once.
func Load(path string) (*Policy, error) {
	text := deploy.AccessYAML
	if path != "" {
		var err error
		if text, err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("access: %w", err)
		}
	}
	return Parse(text)
}

// Parse reads a policy from YAML. An unknown key is a fault like any other.
func Parse(text []byte) (*Policy, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	p := &Policy{}
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	if err := p.validate(); err != nil {
		return nil, err
	}
	return p, nil
}

// Logins are the names of the logins, sorted.
func (p *Policy) Logins() []string {
	var names []string
	for _, l := range p.LoginsByTeam {
		names = append(names, l.Name)
	}
	slices.Sort(names)
	return names
}

// LoginOf is the login of a team, the key under database.credentials.
func (p *Policy) LoginOf(team string) (string, bool) {
	l, ok := p.LoginsByTeam[team]
	return l.Name, ok
}

// login finds a login by its name.
func (p *Policy) login(name string) (Login, bool) {
	for _, l := range p.LoginsByTeam {
		if l.Name == name {
			return l, true
		}
	}
	return Login{}, false
}

// validate reports all faults of the text and expands the grants.
func (p *Policy) validate() error {
	v := &validator{p: p}
	v.name("owner", p.Owner)
	for _, s := range p.Schemas {
		v.name("schemas", s)
	}
	for r := range p.Roles {
		v.name("roles", r)
	}
	for team, l := range p.LoginsByTeam {
		v.login(team, l)
	}
	for role, g := range p.Grants {
		v.role("grants", role)
		p.rights = append(p.rights, v.expand(role, g)...)
	}
	for _, r := range p.Policies {
		v.policy(r)
	}
	for _, f := range p.RevokeFromPublic {
		v.checkf(function.MatchString(f), "revoke_from_public: %q is not schema.function(types)", f)
	}
	for _, e := range p.Expectations {
		_, ok := p.LoginsByTeam[e.Login]
		v.checkf(ok, "expectations: %q: unknown login %q", e.Name, e.Login)
		v.checkf(e.Name != "" && e.SQL != "", "expectations: %s %q: name and sql are needed", e.Login, e.Name)
		v.checkf(sqlstate.MatchString(e.Want), "expectations: %s %q: want %q is neither ok nor a SQLSTATE", e.Login, e.Name, e.Want)
	}
	slices.SortFunc(p.rights, compareRights)
	return errors.Join(v.faults...)
}

// validator collects the faults of one policy.
type validator struct {
	p      *Policy
	faults []error
}

func (v *validator) checkf(ok bool, format string, args ...any) {
	if !ok {
		v.faults = append(v.faults, fmt.Errorf("access: "+format, args...))
	}
}

func (v *validator) name(where, s string) {
	v.checkf(identifier.MatchString(s), "%s: %q is not a plain lower-case name", where, s)
}

func (v *validator) role(where, r string) {
	_, ok := v.p.Roles[r]
	v.checkf(ok, "%s: role %q is not declared under roles", where, r)
}

func (v *validator) login(team string, l Login) {
	where := "logins." + team
	v.name(where, l.Name)
	v.checkf(l.Connections > 0, "%s: connections must be positive", where)
	v.checkf(len(l.Roles) > 0, "%s: no roles", where)
	for _, r := range l.Roles {
		v.role(where, r)
	}
	for k, s := range l.Settings {
		v.checkf(identifier.MatchString(k) && duration.MatchString(s), "%s: setting %s = %q", where, k, s)
	}
}

func (v *validator) policy(r RowPolicy) {
	where := fmt.Sprintf("policies.%s on %s", r.Name, r.Table)
	v.name(where, r.Name)
	v.checkf(qualified.MatchString(r.Table), "%s: table must be schema.table", where)
	v.checkf(slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE", "ALL"}, r.For), "%s: for %q", where, r.For)
	v.checkf(len(r.To) > 0 && (r.Using != "" || r.Check != ""), "%s: to, and using or check, are needed", where)
	for _, role := range r.To {
		v.role(where, role)
	}
}

// expand turns a role's grants into single rights.
func (v *validator) expand(role string, g Grant) []Right {
	var rights []Right
	for _, priv := range g.Database {
		v.checkf(priv == "CONNECT", "grants.%s: database right %q: only CONNECT may be granted", role, priv)
		rights = append(rights, Right{Role: role, Kind: onDatabase, Privilege: priv})
	}
	for _, s := range g.Schemas {
		v.name("grants."+role, s)
		rights = append(rights, Right{Role: role, Kind: onSchema, Object: s, Privilege: "USAGE"})
	}
	for _, t := range g.Types {
		v.checkf(qualified.MatchString(t), "grants.%s: type %q must be schema.type", role, t)
		rights = append(rights, Right{Role: role, Kind: onType, Object: t, Privilege: "USAGE"})
	}
	for _, f := range g.Functions {
		v.checkf(function.MatchString(f), "grants.%s: %q is not schema.function(types)", role, f)
		rights = append(rights, Right{Role: role, Kind: onFunction, Object: f, Privilege: "EXECUTE"})
	}
	for t, privs := range g.Tables {
		v.checkf(qualified.MatchString(t), "grants.%s: table %q must be schema.table", role, t)
		for _, priv := range privs {
			m := tableRight.FindStringSubmatch(priv)
			v.checkf(m != nil, "grants.%s: %s: %q is not a right such as SELECT or UPDATE (column)", role, t, priv)
			if m != nil {
				rights = append(rights, tableRights(role, t, m[1], m[2])...)
			}
		}
	}
	return rights
}

// tableRights is one right for the whole table, or one for each column.
func tableRights(role, table, privilege, columns string) []Right {
	if columns == "" {
		return []Right{{Role: role, Kind: onTable, Object: table, Privilege: privilege}}
	}
	var rights []Right
	for c := range strings.SplitSeq(columns, ",") {
		rights = append(rights, Right{Role: role, Kind: onTable, Object: table, Column: strings.TrimSpace(c), Privilege: privilege})
	}
	return rights
}
