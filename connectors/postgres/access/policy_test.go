package access_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/millrun/millrun/connectors/postgres/access"
	"github.com/millrun/millrun/connectors/postgres/changes"
	"github.com/millrun/millrun/deploy"
)

func TestFaultsOfADeclarationComeAllAtOnce(t *testing.T) {
	t.Parallel()
	_, err := access.Parse([]byte(`
owner: Shop
schemas: [shop]
roles: {team_a: A.}
logins:
  a: {name: a_app, roles: [team_b], connections: 0, settings: {x: "1'; DROP"}}
grants:
  team_c:
    database: [CREATE]
    tables: {shop.t: ["SELECT (a", TRUNCATE], t: [SELECT]}
    functions: [f]
policies:
  - {name: p, table: shop.t, for: SOME, to: [team_a]}
revoke_from_public: [lo_create]
expectations:
  - {login: b, name: "", sql: SELECT 1, want: denied}
`))
	for _, want := range []string{`owner: "Shop"`, `role "team_b" is not declared`, "connections must be positive", "setting x", `role "team_c"`,
		"only CONNECT may be granted", `"SELECT (a"`, `"TRUNCATE"`, `table "t"`, `"f" is not schema.function`, `for "SOME"`, "using or check",
		`"lo_create"`, `unknown login "b"`, "neither ok nor a SQLSTATE"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in: %v", want, err)
		}
	}
	if _, err := access.Parse([]byte("owners: x")); err == nil || !strings.Contains(err.Error(), "owners") {
		t.Errorf("an unknown key: %v", err)
	}
}

// The applier's logins and roles are written in two places: here they must agree.
func TestDeclarationKnowsTheLoginsOfTheTopics(t *testing.T) {
	t.Parallel()
	p := load(t)
	for _, topic := range changes.Topics() {
		team, _ := changes.Owner(topic)
		login, _ := changes.Login(topic)
		role, _ := changes.Role(topic)
		if got, _ := p.LoginOf(string(team)); got != login {
			t.Errorf("%s: login %s, declared %s", topic, login, got)
		}
		if l := p.LoginsByTeam[string(team)]; !slices.Contains(l.Roles, role) || !slices.Contains(l.Roles, "change_applier") {
			t.Errorf("%s: %s is in %v", topic, login, l.Roles)
		}
	}
	if got := strings.Join(p.Logins(), " "); got != "analytics_ro checkout_app logistics_app member_app sales_app" {
		t.Error(got)
	}
}

func TestEmbeddedDeclarationIsTheFile(t *testing.T) {
	t.Parallel()
	file, err := access.Load("../../../deploy/access.yaml")
	if err != nil {
		t.Fatal(err)
	}
	embedded, err := access.Parse(deploy.AccessYAML)
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Expectations) != len(embedded.Expectations) || len(file.Expectations) < 43 {
		t.Errorf("%d and %d expectations", len(file.Expectations), len(embedded.Expectations))
	}
	if _, err := access.Load("no such file"); err == nil {
		t.Error("a missing file is no error")
	}
}

var rewrite = flag.Bool("rewrite", false, "write the matrix into docs/shop.md")

// The matrix in the documentation is what the catalogue of a database made by apply says.
func TestDocumentedMatrixIsTheCatalogues(t *testing.T) {
	t.Parallel()
	p, o := applied(t)
	matrix, err := access.Matrix(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	const file, begin, end = "../../../docs/shop.md", "<!-- matrix -->\n", "<!-- end of matrix -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	documented, after, found2 := strings.Cut(rest, end)
	if !found || !found2 {
		t.Fatalf("%s has no place for the matrix", file)
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(before+begin+matrix+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if documented != matrix {
		t.Errorf("%s differs; go test ./connectors/postgres/access -run Documented -rewrite\n%s", file, matrix)
	}
}
