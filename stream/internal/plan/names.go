package plan

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// counted matches what a name out of the counter begins with.
var counted = regexp.MustCompile(`^.*?[0-9]{10}`)

// Generated says whether a store or topic has its name from the counter: it then changes when the program does.
func (p *Plan) generated(name string) bool {
	return p.names[counted.FindString(name)] || strings.HasPrefix(name, "KSTREAM-OUTERSHARED-")
}

// checkNames finds the stores and internal topics whose names the user has left open (KIP-1111).
func (p *Plan) checkNames() (faults []Fault) {
	for _, s := range p.Stores {
		if !s.Global && p.generated(s.Name) {
			what := "the store " + s.Name
			if s.Logged {
				what += " and its changelog have generated names"
			} else {
				what += " has a generated name"
			}
			faults = append(faults, Fault{s.Site, "RequireNames", s.Name, fmt.Errorf("%s: name it by As or Into", what)})
		}
	}
	for _, r := range p.parts {
		if p.generated(r.Topic) {
			faults = append(faults, Fault{r.Site, "RequireNames", r.Topic, fmt.Errorf("the repartition topic %s has a generated name: name the operator by Named", r.Topic)})
		}
	}
	slices.SortFunc(faults, func(a, b Fault) int { return strings.Compare(a.Node, b.Node) })
	return faults
}
