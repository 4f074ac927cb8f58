// What the calls of a task or a batch cost.
import { dollars, t } from "../base/i18n.js";

/** The figure of what calls cost, none without a price. */
export const costOf = ({ cost }) =>
  cost ? [[t("bill.cost"), dollars(cost.amount), Number(cost.inDoubt) ? t("bill.costNote", { doubt: dollars(cost.inDoubt) }) : "", true]] : [];
