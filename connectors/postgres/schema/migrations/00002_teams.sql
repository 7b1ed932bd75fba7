-- What each team sees: one schema a team. A view runs with the rights of who asks (security_invoker) where the team may
-- read the columns; it runs with its owner's where a column is derived from one that the team may not read, and then
-- carries security_barrier, so that no condition of the asker is evaluated on a hidden row. Owner views do not pass
-- through row security: what they must hide, they hide themselves.

-- +goose Up
CREATE SCHEMA logistics;
CREATE SCHEMA analytics;
CREATE SCHEMA sales;

CREATE VIEW logistics.sales_details WITH (security_invoker = true) AS
  SELECT t.transaction_id, t.status, t.placed_at, t.completed_at, t.total_items_count, t.total_items_weight_kg,
         l.line_no, i.item_id, i.item_name, l.quantity, l.unit_weight_kg, l.line_weight_kg
  FROM shop.transactions t JOIN shop.transaction_lines l USING (transaction_id) JOIN shop.items i USING (item_id);

-- Deletes an item that was never sold, retires one that was; answers deleted, retired or absent.
-- +goose StatementBegin
CREATE FUNCTION sales.remove_item(p_item uuid) RETURNS text LANGUAGE plpgsql SECURITY INVOKER SET search_path = '' AS $$
BEGIN
  BEGIN
    DELETE FROM shop.items WHERE item_id = p_item;
    IF FOUND THEN RETURN 'deleted'; ELSE RETURN 'absent'; END IF;
  EXCEPTION WHEN foreign_key_violation THEN
    UPDATE shop.items SET retired_at = now() WHERE item_id = p_item AND retired_at IS NULL;
    RETURN 'retired';
  END;
END $$;
-- +goose StatementEnd

CREATE VIEW analytics.members WITH (security_barrier = true) AS
  SELECT member_key, status, joined_at, above_18, (extract(year FROM date_of_birth)::int / 10) * 10 AS birth_decade
  FROM shop.members;
CREATE VIEW analytics.sales WITH (security_barrier = true) AS
  SELECT t.transaction_id, t.member_key, t.status, t.placed_at, t.completed_at, t.total_items_count,
         t.total_items_price, t.total_items_weight_kg, l.line_no, l.item_id, l.quantity, l.unit_price, l.line_price,
         l.line_weight_kg, i.item_name, m.manufacturer_name, mb.status AS membership_status
  FROM shop.transactions t JOIN shop.transaction_lines l USING (transaction_id) JOIN shop.items i USING (item_id)
  JOIN shop.manufacturers m USING (manufacturer_id) JOIN shop.members mb USING (member_key);
CREATE VIEW analytics.status_changes WITH (security_barrier = true) AS
  SELECT transaction_id, from_status, to_status, changed_at FROM shop.transaction_status_history
  WHERE from_status IS DISTINCT FROM to_status;
CREATE VIEW analytics.top_members AS
  SELECT member_key, sum(line_price) spend FROM analytics.sales
  WHERE status IN ('paid','shipped','completed') GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10;
CREATE VIEW analytics.top_items AS
  SELECT item_id, item_name, count(DISTINCT transaction_id) times_bought, sum(quantity) units FROM analytics.sales
  WHERE status IN ('paid','shipped','completed') GROUP BY 1, 2 ORDER BY 3 DESC, 4 DESC, 1 LIMIT 3;
