package access

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Matrix is the access to the shop as Markdown, read from the database's catalogue, not from the declaration: rights of
// each team by object, row policies, logins with their limits.
func Matrix(ctx context.Context, p *Policy, o Options) (string, error) {
	conn, err := connectAdmin(ctx, o.AdminURL)
	if err != nil {
		return "", err
	}
	defer closeConn(ctx, conn)
	c, err := readCatalog(ctx, conn, p)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	roles := slices.Sorted(maps.Keys(p.Roles))
	cells := map[string]map[string][]string{}
	for _, r := range c.rights {
		if r.Role == p.Owner {
			continue
		}
		object := strings.TrimPrefix(strings.ToLower(string(r.Kind))+" "+r.Object, "table ")
		if cells[object] == nil {
			cells[object] = map[string][]string{}
		}
		cells[object][r.Role] = appendRight(cells[object][r.Role], r)
		if !slices.Contains(roles, r.Role) {
			roles = append(roles, r.Role) // a login or PUBLIC with a right of its own: shown, because it should not be
		}
	}
	fmt.Fprintf(&b, "| object | %s |\n|%s\n", strings.Join(roles, " | "), strings.Repeat(" --- |", len(roles)+1))
	for _, object := range slices.Sorted(maps.Keys(cells)) {
		fmt.Fprintf(&b, "| %s |", strings.TrimSpace(object))
		for _, role := range roles {
			text := "–"
			if rights := cells[object][role]; len(rights) > 0 {
				text = strings.Join(rights, "; ")
			}
			fmt.Fprintf(&b, " %s |", text)
		}
		b.WriteByte('\n')
	}
	writePolicies(&b, p, c)
	writeLogins(&b, p, c)
	return b.String(), nil
}

// appendRight adds r to a cell, joining columns of the same privilege. Rights come sorted.
func appendRight(cell []string, r Right) []string {
	if r.Column == "" {
		return append(cell, r.Privilege)
	}
	if n := len(cell); n > 0 && strings.HasPrefix(cell[n-1], r.Privilege+" (") {
		cell[n-1] = strings.TrimSuffix(cell[n-1], ")") + ", " + r.Column + ")"
		return cell
	}
	return append(cell, r.Privilege+" ("+r.Column+")")
}

func writePolicies(b *strings.Builder, p *Policy, c *catalog) {
	b.WriteString("\n| row policy | for | roles | rows seen | rows accepted | in force |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, r := range p.Policies {
		mark, exists := c.policies[r.id()]
		inForce := "no"
		if exists && r.inForce(mark) && c.rowSec[r.Table] {
			inForce = "yes"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", r.id(), r.For, strings.Join(r.To, ", "), orDash(r.Using), orDash(r.Check), inForce)
	}
}

func writeLogins(b *strings.Builder, p *Policy, c *catalog) {
	b.WriteString("\n| login | roles | connections | settings | beyond an ordinary login |\n| --- | --- | --- | --- | --- |\n")
	for _, name := range p.Logins() {
		state, exists := c.roles[name]
		if !exists {
			fmt.Fprintf(b, "| %s | does not exist | | | |\n", name)
			continue
		}
		var roles, settings []string
		for m := range c.members {
			if m[1] == name {
				roles = append(roles, m[0])
			}
		}
		slices.Sort(roles)
		for _, k := range slices.Sorted(maps.Keys(state.Settings)) {
			settings = append(settings, k+" = "+state.Settings[k])
		}
		fmt.Fprintf(b, "| %s | %s | %d | %s | %s |\n", name, strings.Join(roles, ", "), state.Connections,
			strings.Join(settings, ", "), orDash(strings.Join(state.attributes(), ", ")))
	}
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
