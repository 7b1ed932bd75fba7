package plan

// Repeatable says whether a node gets the same records again, in the order of each topic they stem from, when a task processes its
// topics again and takes them in another order: whether no store on the way to it is reached by records of several topics. A join
// of two streams or two tables is not repeatable, since either side may be the second one; that of a stream with a table is, since
// only the stream's records have results; a merge is, and a count behind it is not.
func (n *Node) Repeatable() bool {
	reached := map[string]map[string]bool{} // by store, the topics whose records come to it on their way here
	for above := range lineage(n) {
		for _, store := range above.Stores {
			if reached[store] == nil {
				reached[store] = map[string]bool{}
			}
			for from := range lineage(above) {
				if from.Pattern != nil {
					return false // any number of topics
				}
				for _, topic := range from.Topics {
					reached[store][topic] = true
				}
			}
			if len(reached[store]) > 1 {
				return false
			}
		}
	}
	return true
}

// lineage is a node and all that lead to it.
func lineage(n *Node) map[*Node]bool {
	all := map[*Node]bool{}
	var visit func(*Node)
	visit = func(n *Node) {
		if all[n] {
			return
		}
		all[n] = true
		for _, parent := range n.Parents {
			visit(parent)
		}
	}
	visit(n)
	return all
}
