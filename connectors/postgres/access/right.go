package access

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// kind is what a right is about.
type kind string

const (
	onDatabase kind = "DATABASE"
	onSchema   kind = "SCHEMA"
	onTable    kind = "TABLE" // tables, views and their columns
	onSequence kind = "SEQUENCE"
	onFunction kind = "FUNCTION"
	onType     kind = "TYPE"
)

// public is how PUBLIC is written where a role is expected.
const public = "PUBLIC"

// Right is one privilege of one role on one object, or on one column of it. Two equal Rights are the same right; Object is
// empty for the database, whatever its name.
type Right struct {
	Role, Object, Column, Privilege string
	Kind                            kind
}

// String is the right as one would say it: "UPDATE (status) on shop.transactions".
func (r Right) String() string {
	what := r.Privilege
	if r.Column != "" {
		what += " (" + r.Column + ")"
	}
	if r.Kind == onDatabase {
		return what + " on the database"
	}
	if r.Kind == onTable {
		return what + " on " + r.Object
	}
	return what + " on " + strings.ToLower(string(r.Kind)) + " " + r.Object
}

func compareRights(a, b Right) int {
	return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Object, b.Object),
		cmp.Compare(a.Privilege, b.Privilege), cmp.Compare(a.Column, b.Column))
}

// minus is every right of a that is not in b, sorted.
func minus(a, b []Right) []Right {
	in := make(map[Right]bool, len(b))
	for _, r := range b {
		in[r] = true
	}
	var out []Right
	for _, r := range a {
		if !in[r] {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, compareRights)
	return slices.Compact(out)
}

// statements writes sorted rights as GRANT or REVOKE statements, the columns of one table and privilege in one.
func statements(verb, preposition, database string, rights []Right) []string {
	var out []string
	for i := 0; i < len(rights); {
		r := rights[i]
		columns := []string{}
		for ; i < len(rights); i++ {
			next := rights[i]
			next.Column = r.Column
			if next != r || (rights[i].Column == "") != (r.Column == "") {
				break
			}
			if rights[i].Column != "" {
				columns = append(columns, quote(rights[i].Column))
			}
		}
		what := r.Privilege
		if len(columns) > 0 {
			what += " (" + strings.Join(columns, ", ") + ")"
		}
		out = append(out, fmt.Sprintf("%s %s ON %s %s %s", verb, what, r.target(database), preposition, quoteRole(r.Role)))
	}
	return out
}

// target names the object in SQL.
func (r Right) target(database string) string {
	switch r.Kind {
	case onDatabase:
		return "DATABASE " + quote(database)
	case onFunction:
		name, args, _ := strings.Cut(r.Object, "(")
		return "FUNCTION " + quote(strings.Split(name, ".")...) + "(" + args
	default:
		return string(r.Kind) + " " + quote(strings.Split(r.Object, ".")...)
	}
}

func quote(parts ...string) string { return pgx.Identifier(parts).Sanitize() }

func quoteRole(r string) string {
	if r == public {
		return public
	}
	return quote(r)
}

// literal quotes s as a standard-conforming string literal.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
