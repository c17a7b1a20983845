-- What a portfolio is for.
CREATE TABLE portfolio.portfolio_goals (
    user_id        uuid NOT NULL,
    goal_id        uuid NOT NULL DEFAULT gen_random_uuid(),
    portfolio_id   uuid NOT NULL,
    name           text NOT NULL,
    target_amount  portfolio.amount NOT NULL,
    currency       portfolio.currency_code NOT NULL,
    target_day     date,
    reached_at     timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, goal_id),
    CONSTRAINT portfolio_goals_portfolio_fkey
        FOREIGN KEY (user_id, portfolio_id) REFERENCES portfolio.portfolios (user_id, portfolio_id) ON DELETE CASCADE,
    CONSTRAINT portfolio_goals_name_filled CHECK (name <> '' AND length(name) <= 200),
    CONSTRAINT portfolio_goals_target_positive CHECK (target_amount > 0)
);

COMMENT ON TABLE portfolio.portfolio_goals IS 'Goals of users: an amount, and perhaps a day.';
COMMENT ON COLUMN portfolio.portfolio_goals.target_day IS 'Until when; NULL for a goal without a date.';

CREATE INDEX portfolio_goals_portfolio_idx ON portfolio.portfolio_goals (user_id, portfolio_id);
CREATE TRIGGER portfolio_goals_touch BEFORE UPDATE ON portfolio.portfolio_goals FOR EACH ROW EXECUTE FUNCTION portfolio.touch();

ALTER TABLE portfolio.portfolio_goals ENABLE ROW LEVEL SECURITY;
ALTER TABLE portfolio.portfolio_goals FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON portfolio.portfolio_goals USING (user_id = (SELECT session.user_id())) WITH CHECK (user_id = (SELECT session.user_id()));
