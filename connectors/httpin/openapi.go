package httpin

import (
	_ "embed" // openapi.json
	"net/http"
)

// description is the API in OpenAPI 3.1, without the schemas' repetition in code: a test holds it against the table of
// routes, both ways.
//
//go:embed openapi.json
var description []byte

// openAPI shows the description.
func (s *Server) openAPI(c *call) error {
	c.w.Header().Set("Cache-Control", "public, max-age=300")
	return c.send(answer{status: http.StatusOK, header: map[string]string{"Content-Type": "application/json"}, body: description})
}
